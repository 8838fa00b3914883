"""What is learned of the silence of topics: the longest pause of each day, and what lacked on it.

It also has the topics that are gone, and those that have never come, although they have to.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from busmon.ledger.buses import Buses
from busmon.ledger.connection import Connection
from busmon.ledger.hourly import HOURS_KEPT
from busmon.ledger.values import milliseconds

ADD_PAUSE = """
INSERT INTO pauses (bus, topic, day, expected) VALUES (?, ?, ?, ?)
ON CONFLICT (bus, topic, day) DO UPDATE SET expected = excluded.expected
WHERE pauses.expected < excluded.expected
"""
OF_TOPIC = "SELECT {} FROM {} JOIN buses ON id = bus WHERE name = ? AND topic = ? ORDER BY day"
TIMES = "SELECT name, topic, {column} FROM {table} JOIN buses ON buses.id = {table}.bus"
SAVE_DEFICIT = """
INSERT INTO deficits (bus, topic, day, highest, hour, deficit) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (bus, topic, day) DO UPDATE SET highest = excluded.highest,
    hour = excluded.hour, deficit = excluded.deficit
"""


class Pause(NamedTuple):
    """The longest pause of a topic that ended on one day."""

    bus: str
    topic: str
    day: int  # Unix time / 86400
    expected: float  # messages that should have come meanwhile


class DeficitRow(NamedTuple):
    """How many messages of a topic lacked on one day."""

    bus: str
    topic: str
    day: int  # Unix time / 86400
    highest: float | None  # of this day; None: it began with an alarm, and is not usual
    hour: int  # the last one that is in it; Unix time / 3600
    deficit: float  # after that hour


class SilenceRecord:
    """What is on record of the silence of topics."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._buses = Buses(db)

    def pauses(self, bus: str, topic: str) -> dict[int, float]:
        """Return the longest pause of each day of a topic."""
        rows = self._db.execute(OF_TOPIC.format("day, expected", "pauses"), (bus, topic))
        return dict(rows.fetchall())

    def add_pauses(self, pauses: Iterable[Pause]) -> None:
        """Write pauses; of several on a day the longest stays."""
        self._db.executemany(ADD_PAUSE, self._numbered(pauses))

    def prune(self, now: float) -> None:
        """Delete the days that are older than the hourly sums; `now` is a Unix time."""
        day = int(now // 86400) - HOURS_KEPT // 24
        self._db.execute("DELETE FROM pauses WHERE day < ?", (day,))
        self._db.execute("DELETE FROM deficits WHERE day < ?", (day,))

    def deficits(self, bus: str, topic: str) -> list[DeficitRow]:
        """Return the deficit of each day of a topic, oldest first."""
        columns = "name, topic, day, highest, hour, deficit"
        rows = self._db.execute(OF_TOPIC.format(columns, "deficits"), (bus, topic))
        return list(map(DeficitRow._make, rows))

    def save_deficits(self, deficits: Iterable[DeficitRow]) -> None:
        """Write deficits in the place of those of the same day."""
        self._db.executemany(SAVE_DEFICIT, self._numbered(deficits))

    def gone(self) -> dict[tuple[str, str], float]:
        """Return the bus and topic of those that are gone, and when their newest message came."""
        return self._times("gone_topics", "last")

    def set_gone(self, gone: Mapping[tuple[str, str], float]) -> None:
        """Write which topics are gone."""
        self._set_times("gone_topics", "last", gone)

    def awaited(self) -> dict[tuple[str, str], float]:
        """Return bus and topic of those that have never come, and since when they have to."""
        return self._times("awaited_topics", "since")

    def set_awaited(self, since: Mapping[tuple[str, str], float]) -> None:
        """Write which topics have never come, and since when they have to."""
        self._set_times("awaited_topics", "since", since)

    def _times(self, table: str, column: str) -> dict[tuple[str, str], float]:
        rows = self._db.execute(TIMES.format(table=table, column=column))
        return {(bus, topic): at / 1000 for bus, topic, at in rows}

    def _set_times(self, table: str, column: str, times: Mapping[tuple[str, str], float]) -> None:
        self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
        self._db.executemany(
            f"INSERT INTO {table} (bus, topic, {column}) VALUES (?, ?, ?)",  # noqa: S608 - as above
            self._numbered((*topic, milliseconds(at)) for topic, at in times.items()),
        )

    def _numbered(self, rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Return rows that begin with a bus, with its number instead."""
        rows = list(rows)
        numbers = self._buses.numbers(bus for bus, *_ in rows)
        return [(numbers[bus], *row) for bus, *row in rows]
