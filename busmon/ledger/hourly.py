"""The hourly sums of messages by topic, and the pauses between messages of each day."""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from busmon.ledger.buses import Buses

HOURS_KEPT = 24 * 31 * 13  # 13 months
BETWEEN = """
SELECT name, topic, hour, sum(hourly_sums.messages)
FROM hourly_sums JOIN series ON series.id = hourly_sums.series
JOIN buses ON buses.id = series.bus
WHERE hour >= ? AND hour < ? GROUP BY name, topic, hour
"""
ADD_PAUSE = """
INSERT INTO pauses (bus, topic, day, expected) VALUES (?, ?, ?, ?)
ON CONFLICT (bus, topic, day) DO UPDATE SET expected = excluded.expected
WHERE pauses.expected < excluded.expected
"""


class HourlySum(NamedTuple):
    """The messages of one topic in one hour, over all outcomes."""

    bus: str
    topic: str
    hour: int  # Unix time / 3600
    messages: int


class Pause(NamedTuple):
    """The longest pause of a topic that ended on one day."""

    bus: str
    topic: str
    day: int  # Unix time / 86400
    expected: float  # messages that should have come meanwhile


class HourlySums:
    """The sums of each hour; recording adds to them."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def between(self, first: int, end: int) -> Iterator[HourlySum]:
        """Yield the sums of the hours from `first` on and before `end`."""
        return map(HourlySum._make, self._db.execute(BETWEEN, (first, end)))

    def prune(self, now: float) -> None:
        """Delete the sums that are older than `HOURS_KEPT`; `now` is a Unix time."""
        self._db.execute("DELETE FROM hourly_sums WHERE hour < ?", (int(now // 3600) - HOURS_KEPT,))


class Pauses:
    """The longest pause of each topic and day."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._buses = Buses(db)

    def all(self) -> Iterator[Pause]:
        """Yield every pause on record."""
        rows = self._db.execute(
            "SELECT name, topic, day, expected FROM pauses JOIN buses ON buses.id = pauses.bus"
        )
        return map(Pause._make, rows)

    def add(self, pauses: Iterable[Pause]) -> None:
        """Write pauses; of several on a day the longest stays."""
        for bus, topic, day, expected in pauses:
            self._db.execute(ADD_PAUSE, (self._buses.number(bus), topic, day, expected))

    def prune(self, now: float) -> None:
        """Delete the pauses that are older than the hourly sums; `now` is a Unix time."""
        day = int(now // 86400) - HOURS_KEPT // 24
        self._db.execute("DELETE FROM pauses WHERE day < ?", (day,))
