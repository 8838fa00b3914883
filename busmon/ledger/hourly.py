"""The hourly sums of messages by topic; for each day, its longest pause, and what lacked."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from busmon.ledger.buses import Buses
from busmon.ledger.connection import Connection, places
from busmon.ledger.values import milliseconds

HOURS_KEPT = 24 * 31 * 13  # 13 months
BETWEEN = """
SELECT name, topic, hour, CAST(sum(hourly_sums.messages) AS bigint)
FROM hourly_sums JOIN series ON series.id = hourly_sums.series
JOIN buses ON buses.id = series.bus
WHERE hour >= ? AND hour < ? {} GROUP BY name, topic, hour
"""
MAX_NUMBERS = 500  # in a query
FIRST = """
SELECT hour FROM hourly_sums JOIN series ON series.id = hourly_sums.series
JOIN buses ON buses.id = series.bus WHERE name = ? ORDER BY hour LIMIT 1
"""
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


class DeficitRow(NamedTuple):
    """How many messages of a topic lacked on one day."""

    bus: str
    topic: str
    day: int  # Unix time / 86400
    highest: float | None  # of this day; None: it began with an alarm, and is not usual
    hour: int  # the last one that is in it; Unix time / 3600
    deficit: float  # after that hour


class HourlySums:
    """The sums of each hour; recording adds to them."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def between(self, first: int, end: int, numbers: Sequence[int] = ()) -> Iterator[HourlySum]:
        """Yield the sums of the hours from `first` on and before `end`.

        Of these series only, unless there are more than `MAX_NUMBERS` of them, or none.
        """
        few = numbers if len(numbers) <= MAX_NUMBERS else ()
        where = f"AND hourly_sums.series IN ({places(few)})" if few else ""
        rows = self._db.execute(BETWEEN.format(where), (first, end, *few))
        return map(HourlySum._make, rows)

    def numbers(self) -> dict[tuple[str, str], list[int]]:
        """Return the numbers of the series of each bus and topic."""
        found: dict[tuple[str, str], list[int]] = {}
        for number, *topic in self._db.execute(
            "SELECT series.id, name, topic FROM series JOIN buses ON buses.id = series.bus"
        ):
            found.setdefault((topic[0], topic[1]), []).append(number)
        return found

    def first(self, bus: str) -> int | None:
        """Return the first hour with a message of a bus; None if there is none."""
        found = self._db.execute(FIRST, (bus,)).fetchone()
        return found[0] if found else None

    def prune(self, now: float) -> None:
        """Delete the sums that are older than `HOURS_KEPT`; `now` is a Unix time."""
        self._db.execute("DELETE FROM hourly_sums WHERE hour < ?", (int(now // 3600) - HOURS_KEPT,))


class Pauses:
    """What is known of each topic and day: its longest pause, and what lacked."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._buses = Buses(db)

    def of(self, bus: str, topic: str) -> dict[int, float]:
        """Return the longest pause of each day of a topic."""
        rows = self._db.execute(OF_TOPIC.format("day, expected", "pauses"), (bus, topic))
        return dict(rows.fetchall())

    def add(self, pauses: Iterable[Pause]) -> None:
        """Write pauses; of several on a day the longest stays."""
        self._db.executemany(ADD_PAUSE, self._numbered(pauses))

    def prune(self, now: float) -> None:
        """Delete the pauses that are older than the hourly sums; `now` is a Unix time."""
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
