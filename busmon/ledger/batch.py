"""One batch: what is recorded of each message, and what it all adds to the counters."""

import secrets
import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from busmon.ledger.buses import Buses
from busmon.ledger.subjects import BLOCK, Subjects, block_of
from busmon.ledger.values import milliseconds, stored_id


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


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers that buses, series and sets of keys have in the tables, as far as known."""

    buses: dict[str, int] = field(default_factory=dict)
    series: dict[Series, int] = field(default_factory=dict)
    subjects: dict[str, int] = field(default_factory=dict)  # of the newest block

    def copy(self) -> "Numbers":
        """Return numbers to which a batch can add, and be rolled back."""
        return Numbers(dict(self.buses), dict(self.series), dict(self.subjects))


@dataclass(slots=True)
class HourlyCount:
    """What a batch adds to one series in one hour; the times are of the newest message."""

    series: Series
    messages: int = 0
    received: int | None = None  # ms
    sent: int | None = None  # ms


class WriteBatch:
    """One batch inside its transaction: what it will add once that is committed.

    It adds the numbers that it meets to `numbers`. `filled`: an archive had the messages, so
    they are counted by themselves.
    """

    def __init__(self, db: sqlite3.Connection, numbers: Numbers, *, filled: bool = False) -> None:
        self.db, self.numbers, self._filled = db, numbers, filled
        self.buses, self.series = numbers.buses, numbers.series
        self._subjects = Subjects(db)
        self._sets: dict[int, str] = {}  # of keys, that are new
        self._seq: int | None = None  # of the last message; None: not looked up yet
        self.new: list[Observation] = []
        self.counts: dict[tuple[int, int], HourlyCount] = {}  # by hour and the series' number
        self.duplicates: Counter[str] = Counter()
        self.unknown_schemas: Counter[str] = Counter()

    def add(self, observation: Observation) -> None:
        """Record a message, unless it is on record already."""
        number = self.series.get(observation.series) or self._number(observation.series)
        bus = observation.series.bus
        received, sent = milliseconds(observation.received_at), milliseconds(observation.sent_at)
        seq = self._next()
        keys = "\n".join(observation.keys)
        row = number, received, sent, self._subject(seq, keys)
        added = self._insert(seq, bus, observation.id, *row)
        if not added and observation.digest_id and not observation.redelivered:
            # The id is only a digest of the content, and the broker does not say that it
            # delivers it again. So this is another message with the same content: it gets a
            # random id. If it is delivered again, the first one's id identifies it.
            salted = f"{observation.id}~{secrets.token_hex(8)}"
            added = self._insert(seq, bus, salted, *row)
        if not added:
            self.duplicates[bus] += 1
            return
        self._seq = seq
        if row[-1] == seq:
            self._sets[seq] = keys
            self.numbers.subjects[keys] = seq
        self.new.append(observation)
        if observation.unknown_schema:
            self.unknown_schemas[bus] += 1
        hour = int(observation.received_at // 3600), number
        count = self.counts.get(hour) or self.counts.setdefault(
            hour, HourlyCount(observation.series)
        )
        count.messages += 1
        count.received = received
        count.sent = count.sent if sent is None else sent

    def write_counts(self) -> None:
        """Add what is new to the counters, the hourly sums, those of the buses, and the keys."""
        self._subjects.add(self._sets)
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
                (self.duplicates[bus], self.unknown_schemas[bus], self.buses[bus])
                for bus in self.duplicates.keys() | self.unknown_schemas.keys()
            ],
        )

    def write_filled(self) -> None:
        """Add what is new to the counters of filled messages, and the keys."""
        self._subjects.add(self._sets)
        self.db.executemany(
            "UPDATE series SET messages = messages + ? WHERE id = ?",
            [(count.messages, number) for (_, number), count in self.counts.items()],
        )

    def _next(self) -> int:
        """Return the number of the next message; it is larger than all that are in use."""
        if self._seq is None:
            (last,) = self.db.execute("SELECT coalesce(max(seq), 0) FROM messages").fetchone()
            self._seq = max(int(last), self._subjects.last())
            if not self._seq:  # all is pruned, and numbers begin anew
                self.numbers.subjects.clear()
        return self._seq + 1

    def _subject(self, seq: int, keys: str) -> int | None:
        """Return the number of a set of keys: an older one of the same block, or a new one."""
        if not keys:
            return None
        if seq % BLOCK == 0:  # the sets of older blocks are of no use any more
            self.numbers.subjects.clear()
        known = self.numbers.subjects.get(keys, seq)
        return known if block_of(known) == block_of(seq) else seq

    def _insert(self, seq: int, bus: str, identity: str, *row: int | None) -> bool:
        return bool(
            self.db.execute(
                "INSERT INTO messages (seq, bus, id, series, received_at, sent_at, subject)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id, bus) DO NOTHING",
                (seq, self.buses[bus], stored_id(identity), *row),
            ).rowcount
        )

    def _number(self, series: Series) -> int:
        bus = self.buses.get(series.bus)
        if bus is None:
            bus = self.buses[series.bus] = Buses(self.db).number(series.bus)
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
        self.series[series] = number
        return int(number)
