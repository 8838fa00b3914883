"""A ledger with a past, and the audit's windows over it, without brokers."""

from busmon.audit.scope import Observed
from busmon.audit.windows import AuditWindows
from busmon.ledger.batch import Observation, Series
from busmon.ledger.engines import LedgerPlace
from busmon.ledger.ledger import Ledger
from busmon.ledger.open_messages import State
from busmon.ledger.tap_reports import TapReport
from busmon.ledger.tasks import Origin
from busmon.ledger.values import Interval
from busmon.ledger.windows import Place, Totals, WindowRow
from busmon.message import Stage
from busmon.settings.audit import Audit

BUS = "fedora"
TOPIC = "a"
NOW = 1_790_000_000.0  # a multiple of the window's length
STAGES = (Stage.BUS, Stage.LISTENER, Stage.WORKER, Stage.HANDLERS)
AUDIT = Audit(window=10, grace=2, longest_task=30)
BY_IDS = Observed(tap=BUS, celery=BUS)


class AuditBench:
    """Writes what the parts of busmon would write, and closes windows. Times are Unix times."""

    def __init__(
        self,
        place: LedgerPlace = ":memory:",
        observed: Observed = BY_IDS,
        settings: Audit = AUDIT,
    ) -> None:
        self.ledger = Ledger(place)
        self.settings, self.observed = settings, observed
        self.at = NOW  # when what workers do happens
        self.restart()
        self.windows.begin(NOW)

    def restart(self) -> None:
        self.windows = AuditWindows(self.ledger, self.settings, self.observed, [BUS])

    def receive(self, *ids: str, at: float = NOW, topic: str = TOPIC, handled: bool = True) -> None:
        """Let busmon receive messages."""
        self.receive_judged(
            *(("handled", "") if handled else ("ignored", "no")), *ids, at=at, topic=topic
        )

    def receive_judged(
        self, outcome: str, reason: str, *ids: str, at: float = NOW, topic: str = TOPIC
    ) -> None:
        """Let busmon receive messages of this judgement."""
        series = Series(BUS, topic, outcome, reason)
        self.ledger.record([Observation(series, message_id, at) for message_id in ids])

    def report(self, *ids: str, state: str = "passed", at: float = NOW) -> None:
        """Let the tap report what the listener did with messages."""
        reports = [
            TapReport(one, TOPIC, state, f"task-{one}" if state == "passed" else None)
            for one in ids
        ]
        with self.ledger.write() as tables:
            tables.tap_reports.add(BUS, reports, at)

    def work(self, message_id: str, state: str = "succeeded") -> None:
        """Let a worker receive the task of a message and bring it to this state."""
        with self.ledger.write() as tables:
            tables.tasks.receive(f"task-{message_id}", "task", self.at)
            if state != "received":
                tables.tasks.change(f"task-{message_id}", state, self.at)

    def handle(self, message_id: str, handler: str = "h", state: str = "succeeded") -> None:
        """Let a task that the task of a message sent come to this state."""
        task, root = f"{handler}-{message_id}", f"task-{message_id}"
        with self.ledger.write() as tables:
            if state == "sent":
                tables.tasks.send(task, "task.run_a_handler", self.at, Origin(root, root))
                return
            tables.tasks.receive(task, "task.run_a_handler", self.at, Origin(root, root))
            if state != "received":
                tables.tasks.change(task, state, self.at)

    def watch(self, kind: str, since: float, until: float) -> None:
        """Let an observer watch from `since` to `until`, too."""
        with self.ledger.write() as tables:
            tables.coverage.add_span(f"{kind}:{BUS}", since, until, 0)

    def blind(self, *intervals: tuple[float, float], watched_until: float = NOW + 1e6) -> None:
        """Let busmon not receive in these times, which have ended, nor since `watched_until`."""
        with self.ledger.write() as tables:
            new = [Interval(*interval) for interval in intervals]
            tables.blind_times.save(BUS, watched_until, 0, new)

    def close(self, now: float) -> int:
        """Close and correct what can be; return how many windows were closed."""
        closed = 0
        while self.windows.close_next(now):
            closed += 1
        self.correct(now)
        return closed

    def correct(self, now: float) -> None:
        """Correct all that can be, and read again what is open, as the auditor does."""
        while self.windows.correct(now):
            pass
        self.windows.refresh()

    def totals(self, topic: str = TOPIC) -> dict[Stage, Totals]:
        found = self.windows.totals()
        return {stage: found.get(Place(BUS, topic, stage), Totals()) for stage in STAGES}

    def no_data(self) -> dict[Stage, int]:
        """Return how many windows have no data, by stage."""
        return {stage: totals.no_data for stage, totals in self.totals("").items()}

    def missing(self) -> set[tuple[Stage, str]]:
        """Return stage and id of the messages that are still missing."""
        with self.ledger.read() as tables:
            return {(one.stage, one.id) for one in tables.gaps.listed()}

    def open(self, state: State) -> set[tuple[Stage, str]]:
        """Return stage and id of the messages in a state."""
        with self.ledger.read() as tables:
            return {(one.stage, one.id) for one in tables.gaps.listed([state])}

    def rows(self, stage: Stage) -> list[WindowRow]:
        """Return the closed windows at a stage, in order of time."""
        with self.ledger.read() as tables:
            return [row for row in tables.windows.rows(0) if row.place.stage is stage]
