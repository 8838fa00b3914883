"""Takes what the tap in the listener's process reports, and writes it by message id."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated

from prometheus_client.core import Metric
from pydantic import AfterValidator, SecretStr

from busmon.ledger.coverage import MAX_GAP_SECONDS, observer_id
from busmon.ledger.errors import LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.ledger.tables import Tables
from busmon.ledger.tap_reports import TapReport
from busmon.metrics.families import counter, gauge
from busmon.observers.base import Observer, ObserverSettings
from busmon.observers.tap_batch import ReportBatch, ReportedMessage
from busmon.problem_log import ProblemLog
from busmon.text import format_time

STATES = ("passed", "dropped", "raised")
REFUSALS = ("method", "token", "type", "length", "size", "malformed", "bus", "ledger")
ARRIVAL_JITTER_SECONDS = 1.0  # between the times that two batches need to arrive
CHECK_INTERVAL = 1.0  # seconds
# Packit's image has it there. The listener's own file then has no say.
NEVER_HEARD = (
    "no tap was ever heard of: is `--callback` on the listener's command line? It has priority"
    " over `callback` in the listener's TOML"
)
MAX_WAIT_SECONDS = 5.0  # for the batches that are written before; the tap does not wait longer

log = logging.getLogger(__name__)


def _ascii(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if text.isascii() and text.isprintable():
        return secret
    raise ValueError("should be of printable ASCII characters")


class TapSettings(ObserverSettings):
    """`[audit.reports]`: the tap in the listener's process reports to /v1/reports."""

    token: Annotated[SecretStr, AfterValidator(_ascii)]

    def make_observer(self, ledger: Ledger) -> Observer:
        """See ObserverSettings."""
        return TapObserver(ledger, self.bus)

    def describe(self) -> str:
        """See ObserverSettings."""
        return f"of the tap of {self.bus}, at /v1/reports with a bearer token"


class TapObserver:
    """Takes the reports for one bus. Thread-safe."""

    kind = "tap"

    def __init__(
        self, ledger: Ledger, bus: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.bus = bus
        self._name = observer_id(self.kind, bus)
        self._ledger = ledger
        self._clock = clock
        self._taking = threading.Lock()  # held while a batch is written
        self._counting = threading.Lock()  # never held while something waits
        self._up_until = float("-inf")  # monotonic
        with ledger.read() as tables:
            self._last_report = tables.buses.tap_reported(bus)  # Unix time; None: never
            self._totals: Mapping[str, int] = tables.taps.totals(bus)
        self._refusals = Counter(dict.fromkeys(REFUSALS, 0))
        self._refused: dict[str, None] = {}  # reasons since the last report

    def take(self, batch: ReportBatch, now: float) -> None:
        """Write the reports, and the time that they cover, in one transaction.

        `now` is Unix time. A malformed report is counted, and costs no other. Raises
        LedgerWriteError, and then nothing is taken.
        """
        if not self._taking.acquire(timeout=MAX_WAIT_SECONDS):
            raise LedgerWriteError("an earlier batch is still being written")
        try:
            self._write(batch, now)
        finally:
            self._taking.release()
        with self._counting:
            self._refused.clear()

    def _write(self, batch: ReportBatch, now: float) -> None:
        """Write a batch. If it was taken before, only its counts would change anything."""
        messages = list(batch.messages())
        until = now - batch.until
        since = min(now - batch.since, until)
        with self._ledger.write() as tables:
            tables.tap_reports.add(self.bus, _reports(messages, since, until, now), now)
            gap = self._max_gap(tables, batch, since)
            tables.coverage.add_span(self._name, since, until, gap)
            self._write_run(tables, batch, since, until)
            tables.buses.set_tap_reported(self.bus, now)
            if tables.taps.add_batch(self.bus, batch.tap, batch.seq, now, last=batch.last):
                counts = Counter[str](message.state for message in messages)
                counts["malformed"] = len(batch.reports) - len(messages)
                counts["lost"] = batch.lost
                tables.taps.count(self.bus, counts)
            totals = tables.taps.totals(self.bus)
        self._totals = totals
        self._last_report, self._up_until = now, self._clock() + MAX_GAP_SECONDS

    def _write_run(self, tables: Tables, batch: ReportBatch, since: float, until: float) -> None:
        """Write that the listener ran, also if its reports were lost; and its end, if in order."""
        runs = observer_id("listener", self.bus)
        if batch.seq > 1:  # it has run since an earlier batch
            since = min(since, tables.coverage.last_end(runs) or since)
        tables.coverage.add_span(runs, since, until, 0.0)
        if batch.last:
            tables.coverage.start(observer_id("ended", self.bus), until)

    def _max_gap(self, tables: Tables, batch: ReportBatch, since: float) -> float:
        """Return the seconds before a batch in which certainly nothing was missed."""
        if batch.seq > 1:
            # The next batch of a process. Without losses it continues the one before, but two
            # batches do not need the same time to arrive.
            return 0.0 if batch.lost else ARRIVAL_JITTER_SECONDS
        if tables.taps.has_unended(self.bus, batch.tap, since - MAX_GAP_SECONDS):
            return 0.0  # that process may have been killed, with more to report
        # The first batch of the successor of processes that ended in order. They had reported
        # everything, and then there was no listener that could do anything.
        return MAX_GAP_SECONDS

    def refuse(self, reason: str) -> None:
        """Count a refused request, by one of REFUSALS."""
        with self._counting:
            self._refusals[reason] += 1
            self._refused[reason] = None

    def run(self, stopping: threading.Event) -> None:
        """Log when the tap does not report, and when it reports again, until `stopping`."""
        problems = ProblemLog(log)
        patient_until = self._clock() + MAX_GAP_SECONDS  # a tap needs some time after a start
        while not stopping.wait(CHECK_INTERVAL):
            problem = self.problem()
            if problem is None:
                problems.solved(f"{self._name}: the tap reports again")
            elif self._clock() > patient_until:
                problems.problem(f"{self._name}: {problem}")

    def up(self) -> bool:
        """Return whether the tap has reported within the last MAX_GAP_SECONDS."""
        return self._clock() < self._up_until

    def last_report(self) -> float | None:
        """Return the Unix time of the last report, over restarts; None if none ever came."""
        return self._last_report

    def problem(self) -> str | None:
        """Return that the tap does not report, or None if it does."""
        if self.up():
            return None
        with self._counting:
            refused = ", ".join(self._refused)
        if self._last_report is None and not refused:
            return NEVER_HEARD
        at = self._last_report
        silent = (
            "no report was ever accepted" if at is None else f"no report since {format_time(at)}"
        )
        return f"{silent}; some were refused: {refused}" if refused else silent

    def collect(self) -> Iterator[Metric]:
        """Yield what was taken and lost ever, and refused since this process started."""
        totals = self._totals
        with self._counting:
            refusals = dict(self._refusals)
        yield counter(
            "busmon_tap_reports_total",
            "Messages by what the tap in the listener's process reported about them.",
            ["bus", "state"],
            (((self.bus, state), totals.get(state, 0)) for state in STATES),
        )
        yield counter(
            "busmon_tap_lost_reports_total",
            "Reports that the tap could not keep until busmon accepted them.",
            ["bus"],
            [((self.bus,), totals.get("lost", 0))],
        )
        yield counter(
            "busmon_tap_malformed_reports_total",
            "Reports that busmon could not take because they are malformed.",
            ["bus"],
            [((self.bus,), totals.get("malformed", 0))],
        )
        yield counter(
            "busmon_tap_reports_refused_total",
            "Refused requests to /v1/reports, by reason.",
            ["reason"],
            (((reason,), number) for reason, number in refusals.items()),
        )
        yield gauge(
            "busmon_tap_last_report_timestamp_seconds",
            "Unix time of the tap's last report. No series before the first one ever.",
            ["bus"],
            [] if self._last_report is None else [((self.bus,), self._last_report)],
        )


def _reports(
    messages: Iterable[ReportedMessage], since: float, until: float, now: float
) -> Iterator[TapReport]:
    """Yield what is written. All of it happened between `since` and `until`."""
    for message in messages:
        age = message.age()
        at = until if age is None else min(max(now - age, since), until)
        yield TapReport(message.id, message.topic, message.state, message.task, at)
