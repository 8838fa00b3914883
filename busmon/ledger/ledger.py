"""The ledger: messages and counters, on disk before anything is acknowledged.

It is one SQLite file in WAL mode with `synchronous=FULL`. Bus and id identify a message: a
second one with both is counted as a duplicate. Messages are pruned by age and size. Counters
are kept for ever, hourly sums for 13 months.
"""

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from busmon.ledger.batch import Count, Observation, Series, WriteBatch
from busmon.ledger.errors import LedgerWriteError
from busmon.ledger.sqlite import Files, open_read_only, opened, used_bytes
from busmon.ledger.tables import Tables
from busmon.ledger.values import seconds

PRUNED_AT_ONCE = 500  # rows of a kind; a step holds up counting for some milliseconds
HANG_SECONDS = 10.0  # a write that takes longer is reported as hung


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

    def __init__(self, path: str) -> None:
        self.path = path
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._bus_numbers: dict[str, int] = {}  # in the tables, as far as known
        self._series_numbers: dict[Series, int] = {}
        self._write_began: float | None = None  # monotonic; None: no write is in progress
        self._batch_problem: str | None = None  # why the last batch was not written
        self._other_problem: str | None = None  # why the last other write failed
        self.pruned = Counter(age=0, size=0)
        with ExitStack() as file:
            self._db = file.enter_context(opened(path))
            self._tables = Tables(self._db)
            self._counts = self._tables.counters.all()
            self._duplicates = Counter(self._tables.counters.duplicates())
            self._rows = self._tables.messages.count()
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
            batch = WriteBatch(self._db, dict(self._bus_numbers), dict(self._series_numbers))
            try:
                with self._transaction():
                    for observation in observations:
                        batch.add(observation)
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
                counts = self._tables.counters.all()
            with self._reading:
                kept = (one for one in self._counts if one.bus != bus or one.topic not in topics)
                self._counts = dict.fromkeys(kept, Count()) | counts

    def counts(self) -> dict[Series, Count]:
        """Return every counter. Never waits for a write."""
        with self._reading:
            return dict(self._counts)

    def duplicates(self) -> Counter[str]:
        """Return the number of duplicates by bus. Never waits for a write."""
        with self._reading:
            return Counter(self._duplicates)

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
        """Return the number of messages on record, and the bytes that the ledger uses."""
        return self._rows, self._bytes

    def prune(self, now: float, retention: float, size_limit: int) -> bool:
        """Delete what is old, up to `PRUNED_AT_ONCE` rows of each kind; return if there is more.

        Messages, and what observers reported of them, are old after `retention` seconds. While
        the file uses more than `size_limit` bytes, the oldest messages go before their time.
        Then the reports that are older than all messages go, too, and no others: a message
        without its report would count as missing. Raises LedgerWriteError.
        """
        horizon = max(0.0, now - retention)
        with self.write() as tables:
            tables.hourly_sums.prune(now)
            too_large = used_bytes(self._db) > size_limit
            removed = tables.messages.prune(None if too_large else horizon, PRUNED_AT_ONCE)
        with self._reading:
            self._rows -= removed
            self.pruned["size" if too_large else "age"] += removed
        with self.write() as tables:
            if used_bytes(self._db) > size_limit:
                oldest = tables.messages.oldest()
                horizon = now if oldest is None else oldest
            reports = tables.tap_reports.prune(horizon, PRUNED_AT_ONCE)
            tasks = tables.tasks.prune(horizon, PRUNED_AT_ONCE)
            polls = tables.listener.prune_polls(horizon, PRUNED_AT_ONCE)
        return PRUNED_AT_ONCE in {removed, reports, tasks, polls}

    @contextmanager
    def write(self) -> Iterator[Tables]:
        """Yield the tables for one transaction: afterwards all of it is on disk, or nothing.

        Counting waits meanwhile, so take only some milliseconds. Raises LedgerWriteError if
        nothing was written.
        """
        with self._writing, self._noted(), self._transaction():
            yield self._tables

    @contextmanager
    def read(self) -> Iterator[Tables]:
        """Yield the tables for reading, beside the writer. In memory, counting waits meanwhile.

        Raises LedgerError if the file cannot be read.
        """
        in_memory = self.path == ":memory:"
        with self.write() if in_memory else open_read_only(self.path) as tables:
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
        return f"a write has not finished for {waiting:.0f} s: does the disk hang?"

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Write all or nothing; raise LedgerWriteError if it is nothing."""
        self._write_began = time.monotonic()
        try:
            with self._db:  # commits, or rolls back
                self._db.execute("BEGIN IMMEDIATE")
                yield
                size = used_bytes(self._db)
                if lost := self._files.problem():
                    raise LedgerWriteError(lost)
        except sqlite3.Error as error:
            raise LedgerWriteError(self._files.explain(error)) from error
        finally:
            self._write_began = None
        self._bytes = size

    def _publish(self, batch: WriteBatch) -> None:
        with self._reading:
            for count in batch.counts.values():
                before = self._counts.get(count.series, Count())
                sent = before.last_sent if count.sent is None else seconds(count.sent)
                self._counts[count.series] = Count(
                    before.messages + count.messages, seconds(count.received), sent
                )
            self._duplicates.update(batch.duplicates)
            self._rows += len(batch.new)
        self._bus_numbers, self._series_numbers = batch.buses, batch.series
