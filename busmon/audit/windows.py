"""The books in the ledger: each window is closed once, and corrected upwards only.

A window is read beside the writer, balanced by busmon.audit, and written with all sums in
one transaction, which also moves the time up to which the books are closed. So a crash
neither loses a window nor counts it twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import NamedTuple

from busmon.audit import corrections
from busmon.audit.balance import WindowBalance, balance, next_window
from busmon.audit.counted import count
from busmon.ledger.coverage import MAX_GAP_SECONDS
from busmon.ledger.ledger import Ledger
from busmon.ledger.open_messages import OpenMessage
from busmon.ledger.tables import Tables
from busmon.ledger.windows import Place, Totals, WindowRow
from busmon.message import Stage
from busmon.settings.audit import Audit

OBSERVERS = {Stage.LISTENER: "tap", Stage.WORKER: "celery"}


Key = tuple[str, str, str]  # bus, topic, stage


class Window(NamedTuple):
    """One window of one bus, balanced; Unix times."""

    bus: str
    start: float
    end: float
    books: WindowBalance
    no_data: Sequence[Stage]  # where not everything was observed


class Observed(NamedTuple):
    """Which bus each observer watches, if any."""

    tap: str | None = None
    celery: str | None = None
    ready: str | None = None  # if this listener counts just the messages that busmon receives
    ready_interval: float = 0.0  # seconds between two answers of its monitor

    @property
    def counted(self) -> str | None:
        """The bus whose listener is audited by numbers: it has no tap."""
        return None if self.ready == self.tap else self.ready

    def stages(self, bus: str) -> tuple[Stage, ...]:
        """Return the stages of this bus that can be audited."""
        if bus not in (self.tap, self.counted):
            return (Stage.BUS,)
        if bus == self.tap == self.celery:
            return (Stage.BUS, Stage.LISTENER, Stage.WORKER)
        return (Stage.BUS, Stage.LISTENER)


class AuditWindows:
    """The books of these buses, in the ledger. One thread writes, any may ask.

    A listener without a tap is balanced by numbers if that is possible: see `Observed.ready`.

    Raises LedgerWriteError and LedgerError where the ledger can't be written or read; then
    nothing has happened, and the same call may be made again.
    """

    def __init__(
        self, ledger: Ledger, settings: Audit, observed: Observed, buses: Sequence[str]
    ) -> None:
        self.counted = observed.counted
        self.stages = {bus: observed.stages(bus) for bus in buses}
        self._ledger = ledger
        self._settings = settings
        self._corrected: OpenMessage | None = None  # the last one of the step before
        asked = observed.ready_interval if self.counted else 0.0
        self._patience = MAX_GAP_SECONDS + asked  # seconds, for the observers' next signs of life
        self._publish()

    def sums(self) -> Mapping[Key, Totals]:
        """Return what the closed windows come to, from memory."""
        return self._sums

    def last_closed(self) -> float | None:
        """Return the Unix time at which the last closed window ended, from memory."""
        return self._closed

    def open(self, now: float) -> None:
        """Let the first window begin `now`, where there never was one."""
        with self._ledger.write() as tables:
            tables.windows.begin(now)
        self._publish()

    def close_next(self, now: float, oldest: float = 0) -> bool:
        """Close the next window, on all buses, and tell whether its time had come.

        What was before `oldest` is left out: it is no longer on record.
        """
        if self._closed is None:
            return False
        start = max(self._closed, oldest)
        end = next_window(start, self._settings.window)
        told = end + self._settings.grace
        if now < told:
            return False
        with self._ledger.read() as tables:
            # Signs of life come now and then: wait for the next ones.
            if now < told + self._patience and not self._all_see(tables, end, told):
                return False
            windows = [self._balance(tables, bus, start, end) for bus in self.stages]
        with self._ledger.write() as tables:
            if tables.windows.advance(self._closed, end):
                for window in windows:
                    self._enter(tables, window)
        self._publish()
        return True

    def correct(self, now: float) -> bool:
        """Add what was told later of some messages, and tell whether there are more.

        The next call goes on where this one ended, and begins anew at the end.
        """
        with self._ledger.read() as tables:
            found, last = corrections.find(tables, now, self._corrected)
        if found:
            worked = {bus for bus, stages in self.stages.items() if Stage.WORKER in stages}
            due = now + self._settings.longest_task
            with self._ledger.write() as tables:
                corrections.apply(tables, found, now, worked, due)
            self._publish()
        self._corrected = last
        return last is not None

    def forget(self, now: float, retention: float) -> bool:
        """Forget some windows older than `retention`, a day at least; tell if there are more."""
        before = now - max(retention, corrections.LATE)
        with self._ledger.write() as tables:
            windows = tables.windows.prune(before, corrections.AT_ONCE)
            missing = tables.open_messages.prune(before, corrections.AT_ONCE)
        return corrections.AT_ONCE in {windows, missing}

    def _publish(self) -> None:
        with self._ledger.read() as tables:
            self._sums: Mapping[Key, Totals] = dict(tables.windows.totals().items())
            self._closed = tables.windows.closed_until()

    def _all_see(self, tables: Tables, end: float, told: float) -> bool:
        """Tell whether the buses were watched up to `end`, and the observers saw up to `told`."""
        observers = (
            self._observer(bus, stage)
            for bus, stages in self.stages.items()
            for stage in stages
            if stage in OBSERVERS
        )
        return all(tables.blind_times.was_watched_at(bus, end) for bus in self.stages) and all(
            tables.coverage.reaches(observer, told) for observer in observers
        )

    def _balance(self, tables: Tables, bus: str, start: float, end: float) -> Window:
        no_data = list(self._unobserved(tables, bus, start, end))
        fates = tables.messages.traces(bus, start, end)
        observed = [stage for stage in self.stages[bus] if stage not in no_data]
        if bus != self.counted:
            return Window(bus, start, end, balance(fates, observed), no_data)
        books = balance(fates, [Stage.BUS])
        if Stage.LISTENER in observed:
            line = count(tables, bus, start, end, self._settings)
            if line is None:
                no_data.append(Stage.LISTENER)
            else:
                books.counts["", Stage.LISTENER] = line
        return Window(bus, start, end, books, no_data)

    def exact(self, bus: str, stage: str) -> bool:
        """Tell whether the messages at a stage are matched by their ids, not by their number."""
        return stage == Stage.BUS or bus != self.counted

    def _observer(self, bus: str, stage: Stage) -> str:
        return f"{'ready' if bus == self.counted else OBSERVERS[stage]}:{bus}"

    def _unobserved(self, tables: Tables, bus: str, start: float, end: float) -> Iterator[Stage]:
        """Yield the stages of which not all was seen; what is behind one can't be told either."""
        grace = self._settings.grace
        # After a blind time comes what the broker kept meanwhile, and the listener had long ago.
        lost = tables.blind_times.was_blind(bus, start - grace, end)
        lost |= not tables.blind_times.was_watched_at(bus, end)
        for stage in self.stages[bus]:
            if stage in OBSERVERS:
                observer = self._observer(bus, stage)
                lost |= not tables.coverage.is_covered(observer, start, end + grace)
            if lost:
                yield stage

    def _enter(self, tables: Tables, window: Window) -> None:
        bus, start, end, books, no_data = window
        for (topic, stage), counts in books.counts.items():
            totals = Totals(**asdict(counts))
            tables.windows.add([self._row(window, Place(bus, topic, stage), totals)])
        tables.windows.add(self._row(window, Place(bus, "", stage), None) for stage in no_data)
        tables.open_messages.add_missing(bus, start, books.missing)
        due = end + self._settings.longest_task
        tables.open_messages.add_running(bus, start, books.running, due)

    def _row(self, window: Window, place: Place, totals: Totals | None) -> WindowRow:
        exact = self.exact(place.bus, place.stage)
        return WindowRow(window.start, window.end, place, totals, exact)
