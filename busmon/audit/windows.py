"""The books in the ledger: each window is closed once, and corrected upwards only.

A window is read beside the writer, balanced by busmon.audit, and written with all sums in
one transaction, which also moves the time up to which the books are closed. So a crash
neither loses a window nor counts it twice.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from typing import NamedTuple

from busmon.audit import corrections
from busmon.audit.balance import MessageTrace, Stage, WindowBalance, balance, next_window
from busmon.audit.counted import count
from busmon.ledger.coverage import MAX_GAP_SECONDS, is_covered
from busmon.ledger.ledger import Ledger
from busmon.ledger.sqlite import milliseconds, read_only, seconds
from busmon.settings.audit import Audit

OBSERVERS = {Stage.LISTENER: "tap", Stage.WORKER: "celery"}

FATES = """
SELECT seen.id, series.topic, series.outcome = 'handled', reports.state, reports.task, tasks.state
FROM seen JOIN series ON series.id = seen.series
LEFT JOIN reports ON reports.id = seen.id AND reports.bus = seen.bus
LEFT JOIN tasks ON tasks.id = reports.task
WHERE seen.received_at >= ? AND seen.received_at < ? AND seen.bus = ?
AND (series.outcome = 'handled' OR reports.state = 'passed')
"""
BLIND = "SELECT EXISTS (SELECT 1 FROM blind WHERE bus = ? AND since < ? AND until > ?)"
# A blind time is noted when it ends; until then the bus was watched up to its beginning.
WATCHED = "SELECT NOT EXISTS (SELECT 1 FROM buses WHERE id = ? AND watched < ?)"
SEES = "SELECT EXISTS (SELECT 1 FROM observed WHERE observer = ? AND until >= ?)"
CLOSE = "UPDATE closed SET until = ? WHERE until = ?"
WINDOW = """
INSERT INTO windows VALUES
(:start, :until, :bus, :topic, :stage, :messages, :missing, :unexpected, 0, :exact)
"""
SUMS = """
SELECT name, topic, stage, messages, missing, unexpected, recovered, no_data
FROM audited JOIN buses ON buses.id = audited.bus
"""

Key = tuple[str, str, str]  # bus, topic, stage


class Totals(NamedTuple):
    """What all closed windows come to, for one bus, topic and stage."""

    messages: int = 0
    missing: int = 0
    unexpected: int = 0
    recovered: int = 0
    no_data: int = 0  # windows; under an empty topic, as is what is balanced by numbers


class Window(NamedTuple):
    """One window of one bus, balanced; Unix times."""

    bus: str
    start: float
    end: float
    books: WindowBalance
    no_data: Sequence[Stage]  # where not everything was observed


def audited_stages(settings: Audit, bus: str, *, counted: bool = False) -> tuple[Stage, ...]:
    """Return the stages that can be audited on this bus, by the observers configured for it.

    `counted`: without a tap the listener is audited by numbers.
    """
    if settings.reports is None or settings.reports.bus != bus:
        return (Stage.BUS, Stage.LISTENER) if counted else (Stage.BUS,)
    if settings.celery is None or settings.celery.bus != bus:
        return (Stage.BUS, Stage.LISTENER)
    return (Stage.BUS, Stage.LISTENER, Stage.WORKER)


class AuditWindows:
    """The books of these buses, in the ledger. One thread writes, any may ask.

    Where a bus has no tap, its listener is balanced by numbers, if `comparable` is this bus:
    then its monitor is asked, and it has the bindings that busmon has.

    Raises LedgerWriteError and LedgerError where the ledger can't be written or read; then
    nothing has happened, and the same call may be made again.
    """

    def __init__(
        self, ledger: Ledger, settings: Audit, buses: Sequence[str], comparable: str | None = None
    ) -> None:
        tapped = settings.reports.bus if settings.reports else None
        self.counted = None if comparable == tapped else comparable
        self.stages = {
            bus: audited_stages(settings, bus, counted=bus == self.counted) for bus in buses
        }
        self._ledger = ledger
        self._settings = settings
        self._numbers = {bus: ledger.bus_number(bus) for bus in buses}
        self._cursor = corrections.START
        asked = settings.ready.interval if self.counted and settings.ready else 0.0
        self._patience = MAX_GAP_SECONDS + asked  # seconds, for the observers' next signs of life
        self._publish()

    def sums(self) -> Mapping[Key, Totals]:
        """Return what the closed windows come to, from memory."""
        return self._sums

    def last_closed(self) -> float | None:
        """Return the Unix time at which the last closed window ended, from memory."""
        return seconds(self._closed)

    def open(self, now: float) -> None:
        """Let the first window begin `now`, where there never was one."""
        with self._ledger.transaction() as db:
            new = "INSERT INTO closed SELECT ? WHERE NOT EXISTS (SELECT 1 FROM closed)"
            db.execute(new, (milliseconds(now),))
        self._publish()

    def close_next(self, now: float, oldest: float = 0) -> bool:
        """Close the next window, on all buses, and tell whether its time had come.

        What was before `oldest` is left out: it is no longer on record.
        """
        if self._closed is None:
            return False
        start = max(self._closed / 1000, oldest)
        end = next_window(start, self._settings.window)
        told = end + self._settings.grace
        if now < told:
            return False
        with self._reading() as db:
            # Signs of life come now and then: wait for the next ones.
            if now < told + self._patience and not self._all_see(db, end, told):
                return False
            windows = [self._balance(db, bus, start, end) for bus in self.stages]
        with self._ledger.transaction() as db:
            if db.execute(CLOSE, (milliseconds(end), self._closed)).rowcount:
                for window in windows:
                    self._enter(db, window)
        self._publish()
        return True

    def correct(self, now: float) -> bool:
        """Add what was told later of some messages, and tell whether there are more.

        The next call goes on where this one ended, and begins anew at the end.
        """
        worked = {
            self._numbers[bus]: bus for bus, stages in self.stages.items() if Stage.WORKER in stages
        }
        with self._reading() as db:
            observers = {number: f"celery:{bus}" for number, bus in worked.items()}
            found, cursor = corrections.find(db, now, self._cursor, observers)
        if found:
            due = dict.fromkeys(worked, now + self._settings.longest_task)
            with self._ledger.transaction() as db:
                corrections.apply(db, found, now, due)
            self._publish()
        self._cursor = cursor
        return cursor != corrections.START

    def forget(self, now: float, retention: float) -> bool:
        """Forget some windows older than `retention`, a day at least; tell if there are more."""
        with self._ledger.transaction() as db:
            return corrections.prune(db, now - max(retention, corrections.LATE))

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection that does not hold up the writer, where there is a file."""
        in_memory = self._ledger.path == ":memory:"
        with self._ledger.transaction() if in_memory else read_only(self._ledger.path) as db:
            yield db

    def _publish(self) -> None:
        with self._reading() as db:
            rows = db.execute(SUMS).fetchall()
            found = db.execute("SELECT until FROM closed").fetchone()
        self._sums = {(bus, topic, stage): Totals(*sums) for bus, topic, stage, *sums in rows}
        self._closed: int | None = found[0] if found else None

    def _all_see(self, db: sqlite3.Connection, end: float, told: float) -> bool:
        """Tell whether the buses were watched up to `end`, and the observers saw up to `told`."""
        watched = ((WATCHED, number, end) for number in self._numbers.values())
        seen = (
            (SEES, self._observer(bus, stage), told)
            for bus, stages in self.stages.items()
            for stage in stages
            if stage in OBSERVERS
        )
        return all(
            db.execute(question, (who, milliseconds(until))).fetchone()[0]
            for question, who, until in chain(watched, seen)
        )

    def _balance(self, db: sqlite3.Connection, bus: str, start: float, end: float) -> Window:
        no_data = list(self._unobserved(db, bus, start, end))
        span = milliseconds(start), milliseconds(end), self._numbers[bus]
        fates = (MessageTrace(*row) for row in db.execute(FATES, span))
        observed = [stage for stage in self.stages[bus] if stage not in no_data]
        if bus != self.counted:
            return Window(bus, start, end, balance(fates, observed), no_data)
        books = balance(fates, [Stage.BUS])
        if Stage.LISTENER in observed:
            line = count(db, bus, start, end, self._settings)
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

    def _unobserved(
        self, db: sqlite3.Connection, bus: str, start: float, end: float
    ) -> Iterator[Stage]:
        """Yield the stages of which not all was seen; what is behind one can't be told either."""
        grace = self._settings.grace
        # After a blind time comes what the broker kept meanwhile, and the listener had long ago.
        number, until = self._numbers[bus], milliseconds(end)
        (lost,) = db.execute(BLIND, (number, until, milliseconds(start - grace))).fetchone()
        lost |= not db.execute(WATCHED, (number, until)).fetchone()[0]
        for stage in self.stages[bus]:
            if stage in OBSERVERS:
                lost |= not is_covered(db, self._observer(bus, stage), start, end + grace)
            if lost:
                yield stage

    def _enter(self, db: sqlite3.Connection, window: Window) -> None:
        bus, start = self._numbers[window.bus], milliseconds(window.start) or 0
        place = {"start": start, "until": milliseconds(window.end), "bus": bus}
        for (topic, stage), line in window.books.counts.items():
            row = corrections.NOTHING | place | {"topic": topic, "stage": stage} | asdict(line)
            # A topic can be empty, too: that there is no data takes the place of its line.
            if topic or stage not in window.no_data:
                db.execute(WINDOW, row | {"exact": self.exact(window.bus, stage)})
            db.execute(corrections.SUM, row)
        for stage in window.no_data:
            row = corrections.NOTHING | place | {"topic": "", "stage": stage}
            exact = self.exact(window.bus, stage)
            db.execute(WINDOW, row | {"messages": None, "exact": exact})
            db.execute(corrections.SUM, row | {"no_data": 1})
        for stage, fate in window.books.missing:
            corrections.insert_missing(db, bus, start, stage, fate)
        for fate in window.books.running:
            corrections.run(db, bus, start, fate, window.end + self._settings.longest_task)
