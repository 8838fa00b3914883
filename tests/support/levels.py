"""A ledger with messages at their stages, and what counts their delays; Unix times."""

from busmon.audit.scope import Observed
from busmon.ledger.batch import Observation, Series
from busmon.ledger.ledger import Ledger
from busmon.ledger.tap_reports import TapReport
from busmon.ledger.tasks import Origin
from busmon.levels.delays import DelayCounter
from busmon.metrics.delays import StageDelays

BUS = "fedora"
TOPIC = "org.fedoraproject.prod.copr.build.end"
NOW = 1_790_000_000.0
ALL = Observed(tap=BUS, celery=BUS)


class LevelsBench:
    """Writes what the parts of busmon would write, relative to NOW."""

    def __init__(self, observed: Observed = ALL, path: str = ":memory:") -> None:
        self.ledger = Ledger(path)
        self.scopes = {BUS: observed.scope(BUS)}
        self.restart(NOW)

    def restart(self, now: float) -> None:
        """Let a new process begin: its histograms are empty."""
        self.delays = StageDelays()
        self.counter = DelayCounter(self.scopes, self.delays, now)

    def receive(self, *ids: str, at: float = 0, sent: float | None = None, **of: str) -> None:
        """Let busmon receive messages that are handled, `at` seconds after NOW."""
        series = Series(BUS, of.get("topic", TOPIC), of.get("outcome", "handled"), "")
        sent_at = None if sent is None else NOW + sent
        self.ledger.record([Observation(series, one, NOW + at, sent_at) for one in ids])

    def report(self, *ids: str, at: float, reported: float | None = None, **of: str) -> None:
        """Let the listener pass messages on `at` this time, and the tap report it then or later."""
        state = of.get("state", "passed")
        with self.ledger.write() as tables:
            reports = [
                TapReport(one, TOPIC, state, of.get("task", f"task-{one}"), NOW + at) for one in ids
            ]
            tables.tap_reports.add(BUS, reports, NOW + (at if reported is None else reported))

    def work(self, message: str, received: float, **states: float) -> None:
        """Let a worker receive the task of a message, and bring it to states at their times."""
        with self.ledger.write() as tables:
            tables.tasks.receive(f"task-{message}", "process_message", NOW + received)
            for state, at in states.items():
                tables.tasks.change(f"task-{message}", state, NOW + at)

    def handle(self, message: str, at: float, **states: float) -> None:
        """Let the task of a message send a handler, and bring that to states at their times."""
        task = f"handler-of-{message}-{at}"
        with self.ledger.write() as tables:
            tables.tasks.send(task, "a handler", NOW + at, Origin(f"task-{message}"))
            for state, then in states.items():
                tables.tasks.change(task, state, NOW + then)

    def now(self, at: float) -> float:
        return NOW + at

    def count(self, at: float) -> dict[str, tuple[int, float]]:
        """Count the delays at a time; return number and sum of each step so far."""
        self.counter.count(self.ledger, NOW + at)
        (metric,) = self.delays.collect()
        values = {(s.labels["stage"], s.name.rpartition("_")[2]): s.value for s in metric.samples}
        steps = {stage for stage, _ in values}
        return {step: (int(values[step, "count"]), values[step, "sum"]) for step in steps}
