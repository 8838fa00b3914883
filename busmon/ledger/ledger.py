"""The ledger: messages and counters, on disk before anything is acknowledged.

It is in one SQLite file or in a PostgreSQL database: see `engines`. Bus and id identify a
message: a second one with both is counted as a duplicate. Messages are pruned by age and size.
Counters are kept for ever, hourly sums for 13 months.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from busmon.ledger.batch import Count, Numbers, Observation, Series
from busmon.ledger.engine import Members
from busmon.ledger.engines import LedgerPlace, open_engine
from busmon.ledger.errors import LedgerWriteError
from busmon.ledger.hourly import HOURS_KEPT
from busmon.ledger.known import Known
from busmon.ledger.shares import LIMITED, ROWS_AT_ONCE
from busmon.ledger.tables import Tables
from busmon.text import format_duration
from busmon.threads import FairLock

PRUNED = ("tap_reports", "tasks", "coverage")  # after the retention
NO_LIMIT = 2**62
HANG_SECONDS = 10.0  # a write that takes longer is reported as hung


Fold = Callable[[Tables, Sequence[Observation]], Sequence[Observation]]


def as_they_are(_: Tables, observations: Sequence[Observation]) -> Sequence[Observation]:
    """Return the observations."""
    return observations


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a batch."""

    new: Sequence[Observation]  # the messages that were counted
    duplicates: int  # the others
    seconds: float  # for writing and committing


class Ledger:
    """The ledger at a place, which is created if missing; ":memory:" keeps nothing. Thread-safe.

    Raises LedgerError if it cannot be opened; LedgerInUseError if another busmon has it, or leads
    those that have it. With `follows`, this one does not lead.
    """

    def __init__(
        self, place: LedgerPlace, size_limit: int = NO_LIMIT, *, follows: bool = False
    ) -> None:
        self._in_memory = place == ":memory:"
        self.size_limit = size_limit  # in bytes
        self._writing, self._reading = FairLock(), threading.Lock()
        self._numbers = Numbers()
        self._write_began: float | None = None  # monotonic; None: no write is in progress
        self._batch_problem: str | None = None  # why the last batch was not written
        self._other_problem: str | None = None  # why the last other write failed
        self.pruned = Counter(age=0, size=0)  # messages
        self.dropped = Counter(dict.fromkeys(LIMITED, 0))  # other rows, by share of the size limit
        self._engine = open_engine(place, follows=follows)
        self.name, self.warning = self._engine.name, self._engine.warning()  # for people
        try:
            self._known = Known(self._engine)
        except BaseException:
            self._engine.close()
            raise

    def close(self) -> None:
        """Close the database, after the write in progress."""
        with self._writing:
            self._engine.close()

    def give_up(self) -> None:
        """Let a write that hangs fail, so that its thread comes back. Only `close` may follow."""
        self._engine.give_up()

    def record(self, observations: Sequence[Observation], fold: Fold = as_they_are) -> Recorded:
        """Write a batch in one transaction. Raises LedgerWriteError, and then none of it counts.

        `fold` returns how they are counted, by what is on record then.
        """
        with self._writing:
            started = time.perf_counter()
            numbers, self._numbers = self._numbers, Numbers()  # wrong until the batch is on disk
            try:
                with self._transaction() as tables:
                    batch = tables.batch(numbers)
                    batch.add(fold(tables, observations))
                    batch.write_counts()
            except LedgerWriteError as error:
                self._batch_problem = str(error)
                raise
            self._batch_problem = self._other_problem = None
            duration = time.perf_counter() - started
            self._known.add(batch)
            self._numbers = batch.numbers
        return Recorded(batch.new, len(observations) - len(batch.new), duration)

    @property
    def shared(self) -> bool:
        """Whether several busmons can have it."""
        return self._engine.shared

    def members(self) -> Members | None:
        """Return who has the ledger, None if only one can have it. Raises LedgerError."""
        return self._engine.members()

    def announce(self, url: str) -> None:
        """Write where the leader answers, which this one is, and that it is still there.

        Raises LedgerWriteError.
        """
        with self._writing:
            self._engine.announce(url)

    def declare_series(self, series: Iterable[Series]) -> None:
        """Create these counters at zero, unless they exist."""
        self._known.declare(series)

    def merge_topics(self, bus: str, topics: Collection[str], into: str) -> None:
        """Count the messages of these topics as those of another one, in one transaction.

        Raises LedgerWriteError, and then nothing has changed.
        """
        with self._writing:
            with self._noted(), self._transaction() as tables:
                tables.counters.merge(bus, topics, into)
                tables.windows.merge_totals(bus, topics, into)
                tables.open_messages.merge_topics(bus, topics, into)
                counts = tables.counters.all()
            self._known.merge(bus, topics, counts)

    @property
    def floor(self) -> float:
        """A time that has surely been reached; 0 before the first pruning."""
        return self._known.floor

    def counts(self) -> dict[Series, Count]:
        """Return every counter. Never waits for a write."""
        return self._known.counts()

    def has_messages(self, bus: str) -> bool:
        """Return whether a message of a bus was ever counted."""
        return any(one.bus == bus and count.messages for one, count in self.counts().items())

    def duplicates(self) -> Counter[str]:
        """Return the number of duplicates by bus. Never waits for a write."""
        return self._known.duplicates()

    def unknown_schemas(self) -> Counter[str]:
        """Return the number of messages of unknown schemas by bus. Never waits for a write."""
        return self._known.unknown_schemas()

    def problem(self) -> str | None:
        """Return why the last write failed, or why the next one will; None if all is well."""
        problem = self._engine.problem() or self._hang()
        problem = problem or self._batch_problem or self._other_problem
        return problem and f"ledger: {problem}"

    def own_queue(self, bus: str) -> str:
        """Return the name of busmon's queue on this bus: a UUID, made once."""
        with self.write() as tables:
            return tables.buses.own_queue(bus)

    def size(self) -> tuple[int, int]:
        """Return the number of messages on record, and the bytes of the ledger with its log."""
        rows, size = self._known.size()
        return rows, size + self.log_bytes()

    def log_bytes(self) -> int:
        """Return the bytes of the write-ahead log."""
        return self._engine.log_bytes()

    def prune(self, now: float, retention: float) -> bool:
        """Delete what is old, up to `ROWS_AT_ONCE` rows of each kind; return if there is more.

        Messages, and what observers reported of them, are old after `retention` seconds. While it
        uses more than its size limit, without missing messages, the oldest messages go before
        their time; the others have their shares by then. Raises LedgerWriteError.
        """
        horizon, oldest = max(0.0, now - retention), now - HOURS_KEPT * 3600
        with self.write() as tables:
            for table in (tables.hourly_sums, tables.archive_sums, tables.silence):
                table.prune(now)
            tables.blind_times.prune(oldest)
            tables.acceptances.prune(oldest)
            ages = dict.fromkeys(PRUNED, horizon) | {"incidents": oldest}
            more = {tables.shares.prune(kind, before) for kind, before in ages.items()}
            above = bool(tables.shares.above(self.size_limit))
        with self.write() as tables:
            too_large = self._engine.used_bytes(tables) - tables.shares.on_top() > self.size_limit
            removed = tables.messages.prune(None if too_large else horizon, ROWS_AT_ONCE)
            self._known.rows = tables.messages.count()  # also those that were filled
        with self._reading:
            self.pruned["size" if too_large else "age"] += removed
        return True in {*more, above, removed == ROWS_AT_ONCE}

    def set_floor(self, floor: float) -> None:
        """Write a time that has surely been reached. Raises LedgerWriteError."""
        with self.write() as tables:
            tables.clock.set_floor(floor)
        self._known.floor = floor

    def cut(self, now: float) -> bool:
        """Cut what lies beyond now, as a wrong clock left it; return if there is more."""
        with self.write() as tables:
            if not tables.clock.is_passed(now):
                return False
            more = tables.clock.cut(now, ROWS_AT_ONCE)
            counts = tables.counters.all()
        self._known.update(counts)
        return more

    @contextmanager
    def write(self) -> Iterator[Tables]:
        """Yield the tables for one transaction: afterwards all of it is on disk, or nothing.

        Counting waits meanwhile, so take only some milliseconds. Raises LedgerWriteError if
        nothing was written.
        """
        with self._writing, self._noted():
            with self._transaction() as tables:
                yield tables
                dropped = tables.shares.enforce(self.size_limit)
            with self._reading:
                self.dropped.update(dropped)

    def check_writable(self) -> None:
        """Write to the disk what a large batch takes, and undo it; raise LedgerWriteError.

        A source calls this before it subscribes: what it receives and cannot record counts
        against the delivery limit of some brokers.
        """
        with self.write():
            self._engine.check_room()
        self._batch_problem = None

    def forget_key(self, key: str, block: int) -> int:
        """Delete a key from all sets of a block that have it; return from how many.

        The text is overwritten, as far as the database can. Raises LedgerWriteError.
        """
        with self.write() as tables, self._engine.erasing():
            return tables.subjects.forget(key, block)

    def empty_log(self) -> None:
        """Empty the write-ahead log, unless another program reads it; raise LedgerWriteError."""
        with self._writing, self._noted(), self._timed():
            self._engine.empty_log()

    @contextmanager
    def read(self, seconds: float | None = None) -> Iterator[Tables]:
        """Yield the tables for reading, beside the writer. In memory, counting waits meanwhile.

        Raises LedgerError, and from a file TooSlow if a query is not done in so many seconds.
        """
        with self.write() if self._in_memory else self._engine.read(seconds) as tables:
            yield tables

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """Remember the problem if a write other than a batch fails."""
        try:
            yield
        except LedgerWriteError as error:
            self._other_problem = str(error)
            raise
        self._other_problem = None

    def _hang(self) -> str | None:
        began = self._write_began
        waiting = 0.0 if began is None else time.monotonic() - began
        if waiting <= HANG_SECONDS:
            return None
        waited = format_duration(waiting)
        return f"a write has not finished for {waited}: does the disk, or the database, hang?"

    @contextmanager
    def _transaction(self) -> Iterator[Tables]:
        """Write all or nothing; raise LedgerWriteError if it is nothing."""
        with self._timed(), self._engine.transaction() as tables:
            yield tables
            size = 0 if self._engine.shared else self._engine.used_bytes(tables)
        self._known.written(size)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Note since when, in case the disk hangs."""
        self._write_began = time.monotonic()
        try:
            yield
        finally:
            self._write_began = None
