"""The audit's windows in the ledger: each is closed once, and later only corrected upwards.

A window is closed when its grace is over and the observers have shown that they still watch.
It is read beside the writer and balanced. Then the balance and its totals are written in one
transaction, which also moves the time up to which windows are closed. So a crash neither
loses a window nor counts it twice.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from busmon.audit import corrections
from busmon.audit.balance import WindowBalance, balance, next_window
from busmon.audit.scope import Observed
from busmon.ledger.coverage import MAX_GAP_SECONDS
from busmon.ledger.ledger import Ledger
from busmon.ledger.open_messages import OpenMessage
from busmon.ledger.tables import Tables
from busmon.ledger.windows import Place, Totals, WindowRow
from busmon.message import Stage
from busmon.settings.audit import Audit

PRUNED = ("windows", "missing_messages")


class Window(NamedTuple):
    """One window of one bus, balanced; Unix times."""

    bus: str
    start: float
    end: float
    balance: WindowBalance
    no_data: Sequence[Stage]  # stages that were not watched all the time


class AuditWindows:
    """The windows of some buses. One thread closes and corrects them, any may read the totals.

    Raises LedgerWriteError and LedgerError if the ledger cannot be written or read. Nothing
    has changed then, and the same call can be made again.
    """

    def __init__(
        self, ledger: Ledger, settings: Audit, observed: Observed, buses: Iterable[str]
    ) -> None:
        self.scopes = {bus: observed.scope(bus) for bus in buses}
        self._ledger = ledger
        self._settings = settings
        self._last_corrected: OpenMessage | None = None
        self._publish()

    def totals(self) -> Mapping[Place, Totals]:
        """Return what all closed windows add up to, from memory."""
        return self._totals

    def closed_until(self) -> float | None:
        """Return the Unix time at which the last closed window ended, from memory."""
        return self._closed_until

    def begin(self, now: float) -> None:
        """Let the first window begin `now`, unless there was one before."""
        with self._ledger.write() as tables:
            tables.windows.begin(now)
        self._publish()

    def close_next(self, now: float, oldest: float = 0) -> bool:
        """Close the next window of all buses; return whether there was one to close.

        The time before `oldest` is left out: its messages are no longer on record.
        """
        if self._closed_until is None:
            return False
        start = max(self._closed_until, oldest)
        end = next_window(start, self._settings.window)
        grace_end = end + self._settings.grace
        if now < grace_end:
            return False
        with self._ledger.read() as tables:
            overdue = now >= grace_end + MAX_GAP_SECONDS  # for their next signs of life
            if not overdue and not self._still_watched(tables, end, grace_end):
                return False
            windows = [self._balance(tables, bus, start, end) for bus in self.scopes]
        with self._ledger.write() as tables:
            if tables.windows.advance(self._closed_until, end):
                for window in windows:
                    self._write(tables, window)
        self._publish()
        return True

    def correct(self, now: float) -> bool:
        """Correct some closed windows by later reports; return whether there are more to check.

        The next call goes on where this one ended, and begins again after the end.
        """
        with self._ledger.read() as tables:
            found, last = corrections.find(tables, now, self._last_corrected)
        if found:
            audited = {bus for bus, scope in self.scopes.items() if Stage.WORKER in scope.stages}
            due = now + self._settings.longest_task
            with self._ledger.write() as tables:
                corrections.apply(tables, found, now, audited, due)
            self._publish()
        self._last_corrected = last
        return last is not None

    def prune(self, now: float, retention: float) -> bool:
        """Delete some windows older than `retention`, a day at least; return if there are more."""
        before = now - max(retention, corrections.MAX_AGE_SECONDS)
        with self._ledger.write() as tables:
            return True in {tables.shares.prune(kind, before) for kind in PRUNED}

    def _publish(self) -> None:
        with self._ledger.read() as tables:
            self._totals = tables.windows.totals()
            self._closed_until = tables.windows.closed_until()

    def _still_watched(self, tables: Tables, end: float, grace_end: float) -> bool:
        """Return whether busmon and all observers are known to have watched to the end."""
        return all(tables.blind_times.was_watched_at(bus, end) for bus in self.scopes) and all(
            tables.coverage.reaches(observer, grace_end)
            for scope in self.scopes.values()
            for observer in scope.observers.values()
        )

    def _balance(self, tables: Tables, bus: str, start: float, end: float) -> Window:
        scope = self.scopes[bus]
        covered = list(self._covered(tables, bus, start, end))
        traces = tables.messages.traces(bus, start, end)
        found = balance(traces, covered)
        return Window(bus, start, end, found, [s for s in scope.stages if s not in covered])

    def _covered(self, tables: Tables, bus: str, start: float, end: float) -> Iterator[Stage]:
        """Yield the stages that were watched all the time, up to the first that was not."""
        grace = self._settings.grace
        # After a blind time the broker sends what it kept. The listener had that long before.
        if tables.blind_times.was_blind(bus, start - grace, end):
            return
        if not tables.blind_times.was_watched_at(bus, end):
            return
        yield Stage.BUS
        for stage, observer in self.scopes[bus].observers.items():
            if not tables.coverage.is_covered(observer, start, end + grace):
                return
            yield stage

    def _write(self, tables: Tables, window: Window) -> None:
        bus, start, end, found, _ = window
        tables.windows.add(self._rows(window))
        tables.open_messages.add_missing(bus, start, found.missing)
        due = end + self._settings.longest_task
        tables.open_messages.add_running(bus, start, found.running, due)

    def _rows(self, window: Window) -> Iterator[WindowRow]:
        bus, start, end, found, no_data = window
        for (topic, stage), counts in found.counts.items():
            totals = Totals(counts.messages, counts.missing, counts.unexpected)
            yield WindowRow(start, end, Place(bus, topic, stage), totals)
        for stage in no_data:
            yield WindowRow(start, end, Place(bus, "", stage), None)
