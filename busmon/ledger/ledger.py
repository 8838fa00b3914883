"""The ledger: messages and counters, on disk before anything is acknowledged.

It is one SQLite file in WAL mode with `synchronous=FULL`. Bus and id identify a message: a
second one with both is counted as a duplicate. Messages are pruned by age and size. Counters
are kept for ever, hourly sums for 13 months.
"""

import logging
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from busmon.ledger.batch import Count, Numbers, Observation, Series, WriteBatch
from busmon.ledger.errors import LedgerWriteError
from busmon.ledger.hourly import HOURS_KEPT
from busmon.ledger.shares import LIMITED, ROWS_AT_ONCE
from busmon.ledger.sqlite import (
    MAX_LOG_BYTES,
    Files,
    checkpoint,
    open_read_only,
    opened,
    used_bytes,
)
from busmon.ledger.tables import Tables
from busmon.ledger.values import seconds
from busmon.problem_log import ProblemLog
from busmon.text import format_duration

PRUNED = ("tap_reports", "tasks", "coverage")  # after the retention
NO_LIMIT = 2**62
HANG_SECONDS = 10.0  # a write that takes longer is reported as hung

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a batch."""

    new: Sequence[Observation]  # the messages that were counted
    duplicates: int  # the others
    seconds: float  # for writing and committing


class Ledger:
    """The ledger at `path`, which is created if missing; ":memory:" keeps nothing. Thread-safe.

    Raises LedgerError if it cannot be opened.
    """

    def __init__(self, path: str, size_limit: int = NO_LIMIT) -> None:
        self.path = path
        self.size_limit = size_limit  # in bytes
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._numbers = Numbers()
        self._write_began: float | None = None  # monotonic; None: no write is in progress
        self._batch_problem: str | None = None  # why the last batch was not written
        self._other_problem: str | None = None  # why the last other write failed
        self.pruned = Counter(age=0, size=0)  # messages
        self.dropped = Counter(dict.fromkeys(LIMITED, 0))  # other rows, by share of the size limit
        self._log_problems = ProblemLog(log)  # that the write-ahead log is too large
        with ExitStack() as file:
            self._db = file.enter_context(opened(path))
            self._tables = Tables(self._db)
            self._counts = self._tables.counters.all()
            self._duplicates = Counter(self._tables.counters.duplicates())
            self._unknown_schemas = Counter(self._tables.counters.unknown_schemas())
            self._rows = self._tables.messages.count()
            self.floor = self._tables.clock.floor() or 0.0  # a time that has surely been reached
            self._bytes = used_bytes(self._db)
            self._files = Files(path)
            self._file = file.pop_all()

    def close(self) -> None:
        """Close the file, after the write in progress."""
        with self._writing:
            self._file.close()

    def record(self, observations: Sequence[Observation]) -> Recorded:
        """Write a batch in one transaction. Raises LedgerWriteError, and then none of it counts."""
        with self._writing:
            started = time.perf_counter()
            batch = WriteBatch(self._db, self._numbers)
            self._numbers = Numbers()  # until the batch is on disk: else its numbers are wrong
            try:
                with self._transaction():
                    batch.add(observations)
                    batch.write_counts()
            except LedgerWriteError as error:
                self._batch_problem = str(error)
                raise
            self._batch_problem = self._other_problem = None
            duration = time.perf_counter() - started
            self._publish(batch)
        return Recorded(batch.new, len(observations) - len(batch.new), duration)

    def declare_series(self, series: Iterable[Series]) -> None:
        """Create these counters at zero, unless they exist."""
        with self._reading:
            self._counts = dict.fromkeys(series, Count()) | self._counts

    def merge_topics(self, bus: str, topics: Collection[str], into: str) -> None:
        """Count the messages of these topics as those of another one, in one transaction.

        Raises LedgerWriteError, and then nothing has changed.
        """
        with self._writing:
            with self._noted(), self._transaction():
                for topic in topics:
                    self._tables.counters.merge(bus, topic, into)
                    self._tables.windows.merge_totals(bus, topic, into)
                self._tables.open_messages.merge_topics(bus, topics, into)
                counts = self._tables.counters.all()
            with self._reading:
                kept = (one for one in self._counts if one.bus != bus or one.topic not in topics)
                self._counts = dict.fromkeys(kept, Count()) | counts

    def counts(self) -> dict[Series, Count]:
        """Return every counter. Never waits for a write."""
        with self._reading:
            return dict(self._counts)

    def has_messages(self, bus: str) -> bool:
        """Return whether a message of a bus was ever counted."""
        return any(one.bus == bus and count.messages for one, count in self.counts().items())

    def duplicates(self) -> Counter[str]:
        """Return the number of duplicates by bus."""
        with self._reading:
            return Counter(self._duplicates)

    def unknown_schemas(self) -> Counter[str]:
        """Return the number of messages of unknown schemas by bus. Never waits for a write."""
        with self._reading:
            return Counter(self._unknown_schemas)

    def problem(self) -> str | None:
        """Return why the last write failed, or why the next one will; None if all is well."""
        problem = self._files.problem() or self._hang()
        problem = problem or self._batch_problem or self._other_problem
        return problem and f"ledger: {problem}"

    def own_queue(self, bus: str) -> str:
        """Return the name of busmon's queue on this bus: a UUID, made once."""
        with self.write() as tables:
            return tables.buses.own_queue(bus)

    def size(self) -> tuple[int, int]:
        """Return the number of messages on record, and the bytes of the ledger with its log."""
        return self._rows, self._bytes + self.log_bytes()

    def log_bytes(self) -> int:
        """Return the bytes of the write-ahead log."""
        return self._files.log_bytes()

    def prune(self, now: float, retention: float) -> bool:
        """Delete what is old, up to `ROWS_AT_ONCE` rows of each kind; return if there is more.

        Messages, and what observers reported of them, are old after `retention` seconds. While it
        uses more than its size limit, without missing messages, the oldest messages go before
        their time; the others have their shares by then. Raises LedgerWriteError.
        """
        horizon, oldest = max(0.0, now - retention), now - HOURS_KEPT * 3600
        with self.write() as tables:
            for table in (tables.hourly_sums, tables.archive_sums, tables.pauses):
                table.prune(now)
            tables.blind_times.prune(oldest)
            tables.acceptances.prune(oldest)
            ages = dict.fromkeys(PRUNED, horizon) | {"incidents": oldest}
            more = {tables.shares.prune(kind, before) for kind, before in ages.items()}
            above = bool(tables.shares.above(self.size_limit))
        with self.write() as tables:
            too_large = used_bytes(self._db) - tables.shares.on_top() > self.size_limit
            removed = tables.messages.prune(None if too_large else horizon, ROWS_AT_ONCE)
            self._rows = tables.messages.count()  # also those that were filled
        with self._reading:
            self.pruned["size" if too_large else "age"] += removed
        return True in {*more, above, removed == ROWS_AT_ONCE}

    def set_floor(self, floor: float) -> None:
        """Write a time that has surely been reached. Raises LedgerWriteError."""
        with self.write() as tables:
            tables.clock.set_floor(floor)
        self.floor = floor

    def cut(self, now: float) -> bool:
        """Cut what lies beyond now, as a wrong clock left it; return if there is more."""
        with self.write() as tables:
            if not tables.clock.is_passed(now):
                return False
            more = tables.clock.cut(now, ROWS_AT_ONCE)
            with self._reading:
                self._counts |= tables.counters.all()
        return more

    @contextmanager
    def write(self) -> Iterator[Tables]:
        """Yield the tables for one transaction: afterwards all of it is on disk, or nothing.

        Counting waits meanwhile, so take only some milliseconds. Raises LedgerWriteError if
        nothing was written.
        """
        with self._writing, self._noted():
            with self._transaction():
                yield self._tables
                dropped = self._tables.shares.enforce(self.size_limit)
            with self._reading:
                self.dropped.update(dropped)

    def check_writable(self) -> None:
        """Write to the disk what a large batch takes, and undo it; raise LedgerWriteError.

        A source calls this before it subscribes: what it receives and cannot record counts
        against the delivery limit of some brokers.
        """
        with self.write() as tables:
            tables.check_writable()
        self._batch_problem = None

    def empty_log(self) -> None:
        """Empty the write-ahead log, unless another program reads it; raise LedgerWriteError."""
        with self._writing, self._noted(), self._using_disk():
            emptied = checkpoint(self._db)
        size = self._files.log_bytes()
        if emptied:
            self._log_problems.solved()
        elif size > MAX_LOG_BYTES:
            self._log_problems.problem(
                f"{self.path}-wal: has more than {MAX_LOG_BYTES >> 20} MiB, because another program"
                " reads the ledger for a long time; end it, or the disk fills up"
            )

    @contextmanager
    def read(self, seconds: float | None = None) -> Iterator[Tables]:
        """Yield the tables for reading, beside the writer. In memory, counting waits meanwhile.

        Raises LedgerError, and from a file TooSlow if a query is not done in so many seconds.
        """
        in_memory = self.path == ":memory:"
        with self.write() if in_memory else open_read_only(self.path, seconds) as tables:
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
        return f"a write has not finished for {format_duration(waiting)}: does the disk hang?"

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Write all or nothing; raise LedgerWriteError if it is nothing."""
        with self._using_disk(), self._db:  # commits, or rolls back
            self._db.execute("BEGIN IMMEDIATE")
            yield
            size = used_bytes(self._db)
            if lost := self._files.problem():
                raise LedgerWriteError(lost)
        self._bytes = size

    @contextmanager
    def _using_disk(self) -> Iterator[None]:
        """Note since when, in case the disk hangs; raise LedgerWriteError for SQLite's errors."""
        self._write_began = time.monotonic()
        try:
            yield
        except sqlite3.Error as error:
            raise LedgerWriteError(self._files.explain(error)) from error
        finally:
            self._write_began = None

    def _publish(self, batch: WriteBatch) -> None:
        with self._reading:
            for count in batch.counts.values():
                before = self._counts.get(count.series, Count())
                sent = before.last_sent if count.sent is None else seconds(count.sent)
                self._counts[count.series] = Count(
                    before.messages + count.messages, seconds(count.received), sent
                )
            self._duplicates.update(batch.duplicates)
            self._unknown_schemas.update(batch.unknown_schemas)
            self._rows += len(batch.new)
        self._numbers = batch.numbers
