"""One batch: what is recorded of each message, and what it all adds to the tallies."""

import secrets
import sqlite3
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from busmon.ledger.buses import Buses
from busmon.ledger.values import milliseconds, stored_id


class Series(NamedTuple):
    """The labels of one counter."""

    bus: str
    topic: str
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True)
class Count:
    """A counter, and the Unix times of its newest message: received, and sent if it says."""

    messages: int = 0
    last_received: float | None = None
    last_sent: float | None = None


class Observation(NamedTuple):
    """What is recorded of a message; see `Message` for its fields. A body is not among them."""

    series: Series
    id: str
    received_at: float
    sent_at: float | None = None
    size: int = 0
    redelivered: bool = False
    digest_id: bool = False


@dataclass(slots=True)
class _Sum:
    """What one series had in one hour of a batch; the times are the newest message's, in ms."""

    series: Series
    messages: int = 0
    received: int | None = None
    sent: int | None = None


class WriteBatch:
    """One batch inside its transaction: what it will add once that is committed.

    `buses` and `ids` are the numbers of buses and series in the tables; new ones are added.
    """

    def __init__(self, db: sqlite3.Connection, buses: dict[str, int], ids: dict[Series, int]):
        self.db, self.buses, self.ids = db, buses, ids
        self.new: list[Observation] = []
        self.sums: dict[tuple[int, int], _Sum] = {}  # by hour and the series' number
        self.duplicates: Counter[str] = Counter()

    def add(self, judged: Observation) -> None:
        """Put a message on record, unless it is already."""
        number = self.ids.get(judged.series) or self._make(judged.series)
        bus = judged.series.bus
        received, sent = milliseconds(judged.received_at), milliseconds(judged.sent_at)
        added = self._see(bus, judged.id, number, received, sent)
        if not added and judged.digest_id and not judged.redelivered:
            another = f"{judged.id}~{secrets.token_hex(8)}"
            added = self._see(bus, another, number, received, sent)
        if not added:
            self.duplicates[bus] += 1
            return
        self.new.append(judged)
        hour = int(judged.received_at // 3600), number
        one = self.sums.get(hour) or self.sums.setdefault(hour, _Sum(judged.series))
        one.messages += 1
        one.received = received
        one.sent = one.sent if sent is None else sent

    def sum_up(self) -> None:
        """Add what is new to the tallies on disk."""
        self.db.executemany(
            "UPDATE series SET messages = messages + ?, last_received = ?,"
            " last_sent = coalesce(?, last_sent) WHERE id = ?",
            [
                (one.messages, one.received, one.sent, number)
                for (_, number), one in self.sums.items()
            ],
        )
        self.db.executemany(
            "INSERT INTO hours VALUES (?, ?, ?)"
            " ON CONFLICT (hour, series) DO UPDATE SET messages = messages + excluded.messages",
            [(*hour, one.messages) for hour, one in self.sums.items()],
        )
        self.db.executemany(
            "UPDATE buses SET duplicates = duplicates + ? WHERE id = ?",
            [(messages, self.buses[bus]) for bus, messages in self.duplicates.items()],
        )

    def _see(self, bus: str, identity: str, *row: int | None) -> bool:
        return bool(
            self.db.execute(
                "INSERT INTO seen (bus, id, series, received_at, sent_at) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (id, bus) DO NOTHING",
                (self.buses[bus], stored_id(identity), *row),
            ).rowcount
        )

    def _make(self, series: Series) -> int:
        bus = self.buses.get(series.bus)
        if bus is None:
            bus = self.buses[series.bus] = Buses(self.db).number(series.bus)
        labels = bus, *series[1:]
        self.db.execute(
            "INSERT INTO series (bus, topic, outcome, reason) VALUES (?, ?, ?, ?)", labels
        )
        (self.ids[series],) = self.db.execute(
            "SELECT id FROM series WHERE bus = ? AND topic = ? AND outcome = ? AND reason = ?",
            labels,
        ).fetchone()
        return self.ids[series]
