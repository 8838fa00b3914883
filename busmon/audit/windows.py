"""The audit's windows in the ledger: each is closed once, and later only corrected upwards.

A window is closed when its grace is over and the observers have shown that they still watch.
It is read beside the writer and balanced. Then the balance and its totals are written in one
transaction, which also moves the time up to which windows are closed. So a crash neither
loses a window nor counts it twice.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from busmon.audit import corrections
from busmon.audit.ages import open_by_age
from busmon.audit.balance import WindowBalance, balance, next_window
from busmon.audit.corrections import MAX_ROWS, Correction, Look
from busmon.audit.losses import Losses
from busmon.audit.scope import Observed
from busmon.ledger.clock import TOLERANCE_SECONDS
from busmon.ledger.coverage import MAX_GAP_SECONDS
from busmon.ledger.gaps import OpenGap
from busmon.ledger.ledger import Ledger
from busmon.ledger.open_messages import OpenMessage, State
from busmon.ledger.tables import Tables
from busmon.ledger.windows import Place, Totals, WindowRow
from busmon.message import Stage
from busmon.settings.audit import Audit

PRUNED = ("windows", "unconfirmed_messages", "running_messages", "ended_messages")
DAY_SECONDS = 86400.0  # for which they are kept at least


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
        self,
        ledger: Ledger,
        settings: Audit,
        observed: Observed,
        buses: Iterable[str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.scopes = {bus: observed.scope(bus) for bus in buses}
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self._look = Look()
        self._losses = Losses(self.scopes, settings)
        self._reading = threading.Lock()  # so that what was read last is published last
        self._publish()
        self.refresh()

    def totals(self) -> Mapping[Place, Totals]:
        """Return what all closed windows add up to, from memory."""
        return self._totals

    def closed_until(self) -> float | None:
        """Return the Unix time at which the last closed window ended, from memory."""
        return self._closed_until

    def open_gaps(self) -> Mapping[Place, OpenGap]:
        """Return the open gaps, from memory; no place without missing messages."""
        return self._open_gaps

    def open_by_age(self) -> Mapping[tuple[str, Stage], Mapping[str, int]]:
        """Return the messages of open gaps by bus and stage, and by the age of their window."""
        return self._open_by_age

    def with_gaps(self) -> Mapping[str, int]:
        """Return how many windows have an open gap, by bus, from memory."""
        return self._with_gaps

    def unconfirmed(self) -> Mapping[tuple[str, Stage], int]:
        """Return how many messages are unconfirmed by bus and stage, from memory."""
        return self._unconfirmed

    def refresh(self) -> None:
        """Read again what is open and the totals. Any thread may call it after it changed some."""
        with self._reading, self._ledger.read() as tables:
            self._totals = tables.windows.totals()
            self._open_gaps, self._unconfirmed = tables.gaps.open(), tables.gaps.unconfirmed()
            self._with_gaps = tables.gaps.windows()
            self._open_by_age = open_by_age(tables, self._clock())

    def begin(self, now: float) -> None:
        """Let the first window begin `now`, unless there was one before."""
        with self._ledger.write() as tables:
            tables.windows.begin(now)
        self._publish()

    def follow_clock(self, now: float) -> None:
        """Go on from `now`, if a clock that was ahead let windows be closed far beyond it."""
        if self._closed_until is not None and self._closed_until > now + TOLERANCE_SECONDS:
            with self._ledger.write() as tables:
                tables.windows.go_back(now)
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
            found, look = corrections.find(tables, now, self.scopes, self._look)
            lost = self._losses.find(tables, self._closed_until or 0.0)
        self._apply([*found, *lost], now)
        self._look = look or Look()
        return look is not None or bool(lost)

    def expire(self, now: float) -> bool:
        """End some gaps that are open for 13 months; return whether there may be more."""
        oldest = min((gap.oldest for gap in self._open_gaps.values()), default=now)
        if oldest >= now - corrections.EXPIRY_SECONDS:
            return False
        with self._ledger.read() as tables:
            found = corrections.find_expired(tables, now)
        self._apply(found, now)
        return bool(found)

    def prune(self, now: float, retention: float) -> bool:
        """Delete some windows older than `retention`, a day at least; return if there are more.

        The same holds for the messages that they left open, but not for those that are missing.
        """
        before = now - max(retention, DAY_SECONDS)
        with self._ledger.write() as tables:
            return True in {tables.shares.prune(kind, before) for kind in PRUNED}

    def _apply(self, found: Sequence[Correction], now: float) -> None:
        due = now + self._settings.longest_task
        for first in range(0, len(found), MAX_ROWS):
            with self._ledger.write() as tables:
                part = found[first : first + MAX_ROWS]
                corrections.apply(tables, part, now, self.scopes, due)
        if found:
            self._publish()

    def _publish(self) -> None:
        with self._reading, self._ledger.read() as tables:
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
        found = balance(traces, scope.stages, covered)
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
        yield from self.scopes[bus].covered(tables.coverage, start, end + grace)

    def _write(self, tables: Tables, window: Window) -> None:
        tables.windows.add(self._rows(window))
        corrections.add_open(tables, self._opened(window))

    def _opened(self, window: Window) -> Iterator[OpenMessage]:
        bus, start, end, found, _ = window
        for stage, state, trace in found.opened:
            due = end + self._settings.longest_task if state is State.RUNNING else None
            yield OpenMessage(start, end, bus, stage, state, trace, due)

    def _rows(self, window: Window) -> Iterator[WindowRow]:
        bus, start, end, found, no_data = window
        for (topic, stage), counts in found.counts.items():
            totals = Totals(counts.messages, counts.missing, counts.unexpected)
            yield WindowRow(start, end, Place(bus, topic, stage), totals)
        for stage in no_data:
            yield WindowRow(start, end, Place(bus, "", stage), None)
