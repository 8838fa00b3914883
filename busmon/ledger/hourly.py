"""The hourly sums of messages by topic."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from busmon.ledger.connection import Connection, places

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


class HourlySum(NamedTuple):
    """The messages of one topic in one hour, over all outcomes."""

    bus: str
    topic: str
    hour: int  # Unix time / 3600
    messages: int


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
