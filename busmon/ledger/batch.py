"""One batch: what is recorded of each message, and what it all adds to the counters."""

import secrets
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from busmon.ledger.buses import Buses
from busmon.ledger.connection import Connection
from busmon.ledger.parts import SeriesParts, part_of
from busmon.ledger.subjects import Subjects, block_of, end_of
from busmon.ledger.values import milliseconds, stored_id

INSERT = """
INSERT INTO messages (seq, bus, id, series, received_at, sent_at, subject)
VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id, bus) DO NOTHING
"""
# In one statement, because a database can be far away.
LAST = """
SELECT (SELECT coalesce(max(seq), 0) FROM messages), (SELECT coalesce(max(seq), 0) FROM subjects),
    (SELECT coalesce(max(block), -1) FROM subject_keys)
"""


class Series(NamedTuple):
    """The labels of one counter."""

    bus: str
    topic: str
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True)
class Count:
    """The value of one counter, and the Unix times of its newest message."""

    messages: int = 0
    last_received: float | None = None
    last_sent: float | None = None  # None: it does not say


def last_received(counts: Mapping[Series, Count]) -> dict[tuple[str, str], float]:
    """Return the Unix time of the newest message of each bus and topic, with any outcome."""
    last: dict[tuple[str, str], float] = {}
    for series, count in counts.items():
        if count.last_received is not None:
            topic = series.bus, series.topic
            last[topic] = max(count.last_received, last.get(topic, count.last_received))
    return last


class Observation(NamedTuple):
    """What is recorded of a message; see `Message` for its fields. A body is not among them."""

    series: Series
    id: str
    received_at: float
    sent_at: float | None = None
    size: int = 0
    redelivered: bool = False
    digest_id: bool = False
    unknown_schema: bool = False
    keys: tuple[str, ...] = ()  # what it is about


@dataclass(slots=True)
class Numbers:
    """What is known of the tables, so that it need not be read: it may be nothing.

    It holds for one connection. Over another one, the tables can be those of a standby that took
    over and lacks the last transactions, or of a backup.
    """

    last: int = 0  # the largest of the messages and sets, after the last batch
    buses: dict[str, int] = field(default_factory=dict)
    series: dict[Series, int] = field(default_factory=dict)
    # Of the newest block of messages:
    subjects: dict[str, int] = field(default_factory=dict)  # sets of keys
    series_parts: set[tuple[int, int]] = field(default_factory=set)
    read_over: Connection | None = None

    def leave_block(self) -> None:
        """Forget what is known of a block of messages."""
        self.subjects.clear()
        self.series_parts.clear()


@dataclass(slots=True)
class HourlyCount:
    """What a batch adds to one series in one hour; the times are of the newest message."""

    series: Series
    messages: int = 0
    received: int | None = None  # ms
    sent: int | None = None  # ms


class _Row(NamedTuple):
    """A row of the messages."""

    seq: int
    bus: int
    id: str | bytes
    series: int
    received: int | None  # ms
    sent: int | None  # ms
    subject: int | None


Added = Iterable[tuple[Observation, _Row]]


def _salted(identity: str, row: _Row) -> _Row:
    """Return a message with a random id.

    Its id is only a digest of the content, and the broker does not say that it delivers it again.
    So this is another message with the same content. If it is delivered again, the first one's id
    identifies it.
    """
    return row._replace(id=stored_id(f"{identity}~{secrets.token_hex(8)}"))


class WriteBatch:
    """One batch inside its transaction: what it will add once that is committed.

    It adds what it learns of the tables to `numbers`: if it is not committed, that is wrong.
    `filled`: an archive had the messages, so they are counted by themselves.
    """

    def __init__(self, db: Connection, numbers: Numbers, *, filled: bool = False) -> None:
        self.db, self._filled = db, filled
        self.numbers = numbers if numbers.read_over is db else Numbers(read_over=db)
        self._sets: dict[int, str] = {}  # of keys, that are new
        self._last_set = 0  # before them
        self.new: list[Observation] = []
        self.counts: dict[tuple[int, int], HourlyCount] = {}  # by hour and the series' number
        self.duplicates: Counter[str] = Counter()
        self.unknown_schemas: Counter[str] = Counter()

    def add(self, observations: Sequence[Observation]) -> None:
        """Record messages, unless they are on record already, with their keys. Call it once."""
        first = self._next()
        rows = [self._row(seq, one) for seq, one in enumerate(observations, first)]
        added: Added = zip(observations, rows, strict=True)
        if self.db.executemany(INSERT, rows).rowcount < len(rows):
            added = list(self._without_duplicates(added, first))
            self._drop_sets({row.subject for _, row in added})
        self._count(added)
        Subjects(self.db).add(self._sets, self._last_set)
        if block_of(first + len(rows)) != block_of(first):
            self.numbers.leave_block()

    def write_counts(self) -> None:
        """Add what is new to the counters, the hourly sums, and those of the buses."""
        self.db.executemany(
            "UPDATE series SET messages = messages + ?, last_received = ?,"
            " last_sent = coalesce(?, last_sent) WHERE id = ?",
            [
                (count.messages, count.received, count.sent, number)
                for (_, number), count in self.counts.items()
            ],
        )
        self.db.executemany(
            "INSERT INTO hourly_sums (hour, series, messages) VALUES (?, ?, ?)"
            " ON CONFLICT (hour, series) DO UPDATE SET"
            " messages = hourly_sums.messages + excluded.messages",
            [(*hour, count.messages) for hour, count in self.counts.items()],
        )
        self.db.executemany(
            "UPDATE buses SET duplicates = duplicates + ?, unknown_schemas = unknown_schemas + ?"
            " WHERE id = ?",
            [
                (self.duplicates[bus], self.unknown_schemas[bus], self.numbers.buses[bus])
                for bus in self.duplicates.keys() | self.unknown_schemas.keys()
            ],
        )

    def write_filled(self) -> None:
        """Add what is new to the counters of filled messages."""
        self.db.executemany(
            "UPDATE series SET messages = messages + ? WHERE id = ?",
            [(count.messages, number) for (_, number), count in self.counts.items()],
        )

    def _next(self) -> int:
        """Return the number of the next message; it is larger than all that are in use."""
        message, self._last_set, block = self.db.execute(LAST).fetchone()
        last = max(int(message), self._last_set, end_of(block))
        if last != self.numbers.last:  # others recorded messages, or all is pruned
            self.numbers.leave_block()
        return last + 1

    def _row(self, seq: int, one: Observation) -> _Row:
        # The number of the series first: it may make that of the bus.
        series = self.numbers.series.get(one.series) or self._number(one.series)
        return _Row(
            seq,
            self.numbers.buses[one.series.bus],
            stored_id(one.id),
            series,
            milliseconds(one.received_at),
            milliseconds(one.sent_at),
            self._subject(seq, "\n".join(one.keys)) if one.keys else None,
        )

    def _subject(self, seq: int, keys: str) -> int:
        """Return the number of a set of keys: an older one of the same block, or a new one."""
        known = self.numbers.subjects.get(keys)
        if known is None or block_of(known) != block_of(seq):
            known = self.numbers.subjects[keys] = seq
            self._sets[seq] = keys
        return known

    def _without_duplicates(self, added: Added, first: int) -> Iterator[tuple[Observation, _Row]]:
        """Yield those that were recorded; the numbers of the others are of no message."""
        recorded = {
            seq for (seq,) in self.db.execute("SELECT seq FROM messages WHERE seq >= ?", (first,))
        }
        salted = []
        for one, row in added:
            if row.seq in recorded:
                yield one, row
            elif one.digest_id and not one.redelivered:
                salted.append(_salted(one.id, row))
                yield one, row
            else:
                self.duplicates[one.series.bus] += 1
        self.db.executemany(INSERT, salted)

    def _drop_sets(self, used: Collection[int | None]) -> None:
        """Forget the new sets of keys that only duplicates have."""
        for number in self._sets.keys() - used:
            keys = self._sets.pop(number)
            if self.numbers.subjects.get(keys) == number:
                del self.numbers.subjects[keys]

    def _count(self, added: Added) -> None:
        parts = set()
        for one, row in added:
            self.new.append(one)
            self.numbers.last = row.seq
            if one.unknown_schema:
                self.unknown_schemas[one.series.bus] += 1
            hour = int(one.received_at // 3600), row.series
            count = self.counts.get(hour)
            if count is None:
                count = self.counts[hour] = HourlyCount(one.series)
            count.messages += 1
            count.received = row.received
            count.sent = count.sent if row.sent is None else row.sent
            parts.add((part_of(row.seq), row.series))
        parts -= self.numbers.series_parts
        SeriesParts(self.db).add(parts)
        self.numbers.series_parts.update(parts)

    def _number(self, series: Series) -> int:
        buses = self.numbers.buses
        bus = buses.get(series.bus)
        if bus is None:
            bus = buses[series.bus] = Buses(self.db).number(series.bus)
        labels = bus, *series[1:], int(self._filled)
        self.db.execute(
            "INSERT INTO series (bus, topic, outcome, reason, filled) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (bus, topic, outcome, reason, filled) DO NOTHING",
            labels,
        )
        (number,) = self.db.execute(
            "SELECT id FROM series WHERE bus = ? AND topic = ? AND outcome = ? AND reason = ?"
            " AND filled = ?",
            labels,
        ).fetchone()
        self.numbers.series[series] = number
        return int(number)
