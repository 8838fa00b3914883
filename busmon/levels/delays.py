"""Count how long messages took, by what was reported of them since this process started."""

from collections.abc import Iterable, Mapping

from busmon.audit.scope import Scope
from busmon.ledger.delays import Passage
from busmon.ledger.ledger import Ledger
from busmon.ledger.tables import Tables
from busmon.message import Stage
from busmon.metrics.delays import StageDelays, Step

# What is reported of a message comes in any order, and is read so many seconds later.
LATE_SECONDS = 30.0
MAX_FAILED = 10_000  # tasks that are remembered
STEPS: Mapping[Stage, tuple[Step, ...]] = {
    Stage.LISTENER: (Step.LISTENER,),
    Stage.WORKER: (Step.STARTED, Step.WORKER),
    Stage.HANDLERS: (Step.HANDLERS,),
}


class DelayCounter:
    """Counts the delays of each message once. For one thread."""

    def __init__(self, scopes: Mapping[str, Scope], delays: StageDelays, now: float) -> None:
        """Count what is reported after `now`, a Unix time."""
        self._scopes = scopes
        self._delays = delays
        self._until = now
        self._failed: dict[str, None] = {}  # tasks that were counted; they may run once more
        for bus, scope in scopes.items():
            steps = (step for stage in scope.stages for step in STEPS.get(stage, ()))
            delays.declare((bus, step) for step in steps)

    def count(self, ledger: Ledger, now: float) -> None:
        """Count what was reported since the last call; raises LedgerError."""
        until = now - LATE_SECONDS
        since = min(self._until, until)  # they differ by nothing after a clock was set back
        with ledger.read() as tables:
            for bus, scope in self._scopes.items():
                self._count(tables, bus, scope, since, until)
        self._until = until

    def _count(self, tables: Tables, bus: str, scope: Scope, since: float, until: float) -> None:
        if Stage.LISTENER not in scope.stages:
            return
        reported = list(tables.delays.reported(bus, since, until))
        for passage in reported:
            self._delays.add(bus, Step.LISTENER, passage.passed_at - passage.received_at)
        if Stage.WORKER in scope.stages:
            self._count_tasks(bus, reported)
            self._count_tasks(bus, tables.delays.finished(bus, since, until))
        if Stage.HANDLERS in scope.stages:
            for first, last in tables.delays.succeeded(bus, since, until):
                self._delays.add(bus, Step.HANDLERS, last - first)

    def _count_tasks(self, bus: str, passages: Iterable[Passage]) -> None:
        for _, passed, task, state, started, finished in passages:
            if task is None or finished is None or task in self._failed:
                continue
            if state == "failed":
                self._remember(task)
            if started is not None:
                self._delays.add(bus, Step.STARTED, started - passed)
                self._delays.add(bus, Step.WORKER, finished - started)

    def _remember(self, task: str) -> None:
        self._failed[task] = None
        while len(self._failed) > MAX_FAILED:
            del self._failed[next(iter(self._failed))]
