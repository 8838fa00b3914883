"""The audit of some buses: the work of its thread, and its metrics."""

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from prometheus_client.core import Metric

from busmon.audit.metrics import age_metric, audit_metrics, gap_metrics
from busmon.audit.scope import Observed
from busmon.audit.windows import AuditWindows
from busmon.ledger.clock import HostClock
from busmon.ledger.errors import LedgerError, LedgerWriteError
from busmon.ledger.gaps import OpenGap
from busmon.ledger.ledger import Ledger
from busmon.ledger.windows import Place, Totals
from busmon.message import Outcome, Stage
from busmon.metrics.families import gauge
from busmon.problem_log import ProblemLog
from busmon.settings.audit import Audit

TICK_SECONDS = 15.0  # between two rounds of work
YIELD_SECONDS = 0.02  # between two steps of a round, so that counting goes on
MAX_CORRECTION_STEPS = 20  # in one round

log = logging.getLogger(__name__)


class Auditor:
    """Closes, corrects and prunes windows in its thread. Any thread may read the totals.

    Messages older than `retention` seconds are no longer on record. Raises LedgerError if the
    ledger cannot be used.
    """

    def __init__(
        self,
        settings: Audit,
        observed: Observed,
        ledger: Ledger,
        retention: float,
        buses: Iterable[str],
        clock: HostClock | None = None,
    ) -> None:
        self._ledger = ledger
        self._clock = clock or HostClock()
        self._window = settings.window
        self._retention = retention
        self._tick = min(TICK_SECONDS, settings.window / 4)
        self._problems = ProblemLog(log)
        try:
            self._windows = AuditWindows(ledger, settings, observed, buses, self._clock.wall)
            self._windows.begin(time.time())
        except LedgerWriteError as error:
            raise LedgerError(f"{ledger.name}: cannot be written: {error}") from error

    def run(self, stopping: threading.Event) -> None:
        """Work until `stopping`. Log a failure, and try again."""
        while not stopping.is_set():
            try:
                # While the clock is wrong nothing is closed, due or old.
                if (now := self._clock.read(self._ledger.floor)) is not None:
                    self._work(now, stopping)
                self._problems.solved("audit: windows are closed again")
            except (LedgerWriteError, LedgerError) as error:
                self._problems.problem(f"audit: no window can be closed: {error}")
            stopping.wait(self._tick)

    def totals(self) -> Mapping[Place, Totals]:
        """Return what all closed windows add up to, from memory."""
        return self._windows.totals()

    def open_gaps(self) -> Mapping[Place, OpenGap]:
        """Return the open gaps by place, from memory; only those with missing messages."""
        return self._windows.open_gaps()

    def windows_with_gaps(self) -> Mapping[str, int]:
        """Return how many windows have an open gap, by bus, from memory."""
        return self._windows.with_gaps()

    def unconfirmed(self) -> Mapping[tuple[str, Stage], int]:
        """Return how many messages are unconfirmed by bus and stage, from memory."""
        return self._windows.unconfirmed()

    def refresh(self) -> None:
        """Read the open gaps again, after another thread changed them; raises LedgerError."""
        self._windows.refresh()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, from memory."""
        windows, topics = self._windows, self._topics()
        totals, closed_until = windows.totals(), windows.closed_until()
        yield from audit_metrics(windows.scopes, topics, totals, closed_until)
        gaps = windows.open_gaps()
        yield from gap_metrics(windows.scopes, topics, totals, gaps, windows.unconfirmed())
        yield age_metric(windows.scopes, windows.open_by_age())
        yield gauge(
            "busmon_audit_window_seconds",
            "Length of a window of the audit.",
            [],
            [((), self._window)],
        )

    def _work(self, now: float, stopping: threading.Event) -> None:
        pause = partial(stopping.wait, YIELD_SECONDS)  # returns whether to stop
        self._windows.follow_clock(now)
        while self._windows.close_next(now, now - self._retention) and not pause():
            pass
        for _ in range(MAX_CORRECTION_STEPS):
            if not self._windows.correct(now) or pause():
                break
        old = min(now, self._ledger.floor)  # what ends by its age does so by real time
        while self._windows.expire(old) and not pause():
            pass
        while self._windows.prune(old, self._retention) and not pause():
            pass
        self._windows.refresh()

    def _topics(self) -> dict[tuple[str, str], bool]:
        """Return the known buses and topics, and whether any of their messages is handled."""
        topics: dict[tuple[str, str], bool] = {}
        for series in self._ledger.counts():
            if series.bus in self._windows.scopes:
                key = series.bus, series.topic
                topics[key] = topics.get(key, False) or series.outcome == Outcome.HANDLED
        return topics
