"""The counters as they are on disk, so that whoever asks for them waits for no write.

If only this process writes the ledger, it adds what it has written. Otherwise it reads them again
when they are asked for, a second later at the soonest, or after a write of its own.
"""

import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from busmon.ledger.batch import Count, Series, WriteBatch
from busmon.ledger.engine import Engine
from busmon.ledger.errors import LedgerError
from busmon.ledger.tables import Tables
from busmon.ledger.values import seconds

MAX_AGE = 1.0  # seconds, of what another process may have changed
RETRY_SECONDS = 15.0  # after they could not be read, unless something is written
READ_SECONDS = 1.0  # for one query
FIRST_READ_SECONDS = 30.0  # nothing else can be done before


class Known:
    """What is known of the counters, and of the size. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reading = threading.Lock()
        self._refreshing = threading.Lock()
        self._stale_at = 0.0  # monotonic: from then on, they are read again
        self._declared: dict[Series, Count] = {}
        self._counts: dict[Series, Count] = {}
        # One of a single process can be in memory, which cannot be read beside the writer.
        with engine.read(FIRST_READ_SECONDS) if engine.shared else engine.transaction() as tables:
            self._load(tables)

    def written(self, size: int) -> None:
        """Note that something was written, and the size since then if nobody else writes."""
        self._stale_at = 0.0
        if not self._engine.shared:
            self.bytes = size

    def declare(self, series: Iterable[Series]) -> None:
        """Have counters at zero for these series, unless they have some."""
        new = dict.fromkeys(series, Count())
        with self._reading:
            self._declared |= new
            self._counts = new | self._counts

    def merge(self, bus: str, topics: Collection[str], counts: dict[Series, Count]) -> None:
        """Take over all counters, without the series of these topics."""
        with self._reading:
            kept = (one for one in self._counts if one.bus != bus or one.topic not in topics)
            self._declared = dict.fromkeys(kept, Count())
            self._counts = self._declared | counts

    def add(self, batch: WriteBatch) -> None:
        """Add what a batch has written, unless it will be read anyway."""
        if self._engine.shared:
            return
        with self._reading:
            for count in batch.counts.values():
                before = self._counts.get(count.series, Count())
                sent = before.last_sent if count.sent is None else seconds(count.sent)
                self._counts[count.series] = Count(
                    before.messages + count.messages, seconds(count.received), sent
                )
            self._duplicates.update(batch.duplicates)
            self._unknown_schemas.update(batch.unknown_schemas)
            self.rows += len(batch.new)

    def update(self, counts: Mapping[Series, Count]) -> None:
        """Take over counters, and leave others as they are."""
        with self._reading:
            self._counts |= counts

    def counts(self) -> dict[Series, Count]:
        """Return every counter."""
        self._refresh()
        with self._reading:
            return dict(self._counts)

    def duplicates(self) -> Counter[str]:
        """Return the number of duplicates by bus."""
        self._refresh()
        with self._reading:
            return Counter(self._duplicates)

    def unknown_schemas(self) -> Counter[str]:
        """Return the number of messages of unknown schemas by bus."""
        self._refresh()
        with self._reading:
            return Counter(self._unknown_schemas)

    def size(self) -> tuple[int, int]:
        """Return the number of messages on record, and the bytes that all rows take."""
        self._refresh()
        return self.rows, self.bytes

    def _refresh(self) -> None:
        """Read them again if others may have changed them. If that fails, they stay as they are."""
        if not self._engine.shared:
            return
        with self._refreshing:
            if (now := time.monotonic()) < self._stale_at:
                return
            self._stale_at = now + MAX_AGE  # before reading: a write meanwhile makes them stale
            try:
                with self._engine.read(READ_SECONDS) as tables:
                    self._load(tables)
            except LedgerError:  # the next write will fail, too, and says why
                self._stale_at = time.monotonic() + RETRY_SECONDS

    def _load(self, tables: Tables) -> None:
        counts, rows = tables.counters.all(), tables.messages.count()
        duplicates = Counter(tables.counters.duplicates())
        unknown_schemas = Counter(tables.counters.unknown_schemas())
        floor, size = tables.clock.floor() or 0.0, self._engine.used_bytes(tables)
        with self._reading:
            self._counts = self._declared | counts
            self._duplicates, self._unknown_schemas = duplicates, unknown_schemas
            self.rows, self.bytes, self.floor = rows, size, floor
