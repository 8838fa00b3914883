"""The hourly sums of messages by topic as an archive has them; no counter includes them.

They are known of one span of hours for each topic, which grows into the past.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from busmon.ledger.buses import Buses
from busmon.ledger.connection import Connection
from busmon.ledger.hourly import HOURS_KEPT, HourlySum

FROM_SUMS = """
FROM archive_sums JOIN archive_topics ON archive_topics.id = archive_sums.topic
JOIN buses ON buses.id = archive_topics.bus
"""
EXTEND = """
INSERT INTO archive_topics (bus, topic, since, until) VALUES (:bus, :topic, :since, :until)
ON CONFLICT (bus, topic) DO UPDATE SET since = excluded.since
"""
SPANS = """
SELECT name, topic, since, until FROM archive_topics JOIN buses ON buses.id = archive_topics.bus
"""


class Span(NamedTuple):
    """Hours from `since` on and before `until`; Unix time / 3600."""

    since: int
    until: int


class ArchiveSums:
    """The sums of each hour, and of which hours they are known."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._buses = Buses(db)

    def spans(self) -> dict[tuple[str, str], Span]:
        """Return of which hours the sums of each bus and topic were learned."""
        return {(bus, topic): Span(*span) for bus, topic, *span in self._db.execute(SPANS)}

    def oldest(self) -> int | None:
        """Return the first hour with a message; those before may have been deleted for their size.

        None if there is no message.
        """
        found: int | None = self._db.execute("SELECT min(hour) FROM archive_sums").fetchone()[0]
        return found

    def add_before(self, bus: str, topic: str, hours: Span, sums: Mapping[int, int]) -> None:
        """Write the sums of the hours before all that are known of a topic; others are 0."""
        place = {"bus": self._buses.number(bus), "topic": topic}
        self._db.execute(EXTEND, place | hours._asdict())
        (number,) = self._db.execute(
            "SELECT id FROM archive_topics WHERE bus = :bus AND topic = :topic", place
        ).fetchone()
        self._db.executemany(
            "INSERT INTO archive_sums (hour, topic, messages) VALUES (?, ?, ?)"
            " ON CONFLICT (hour, topic) DO UPDATE SET messages = excluded.messages",
            [(hour, number, messages) for hour, messages in sums.items() if messages],
        )

    def between(self, first: int, end: int) -> Iterator[HourlySum]:
        """Yield the sums of the hours from `first` on and before `end`."""
        rows = self._db.execute(
            f"SELECT name, archive_topics.topic, hour, messages {FROM_SUMS}"
            " WHERE hour >= ? AND hour < ?",
            (first, end),
        )
        return map(HourlySum._make, rows)

    def totals(self) -> dict[str, dict[int, int]]:
        """Return the messages of each bus and hour that has any, over all topics."""
        found: dict[str, dict[int, int]] = {}
        rows = self._db.execute(f"SELECT name, hour, sum(messages) {FROM_SUMS} GROUP BY name, hour")
        for bus, hour, messages in rows:
            found.setdefault(bus, {})[hour] = messages
        return found

    def last(self) -> dict[tuple[str, str], int]:
        """Return the last hour of each bus and topic that has a message."""
        rows = self._db.execute(
            f"SELECT name, archive_topics.topic, max(hour) {FROM_SUMS}"
            " GROUP BY name, archive_topics.topic"
        )
        return {(bus, topic): hour for bus, topic, hour in rows}

    def prune(self, now: float) -> None:
        """Delete the sums that are older than `HOURS_KEPT`; `now` is a Unix time."""
        self._db.execute(
            "DELETE FROM archive_sums WHERE hour < ?", (int(now // 3600) - HOURS_KEPT,)
        )
