"""What the archive and the ledger do not both have of the last day that was compared."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from busmon.ledger.buses import Buses
from busmon.ledger.connection import Connection, in_parts, places
from busmon.ledger.values import milliseconds, seconds, shown_id, stored_id

IDS_KEPT = 10  # of each side
DAYS_KEPT = 7  # a topic that is no longer compared
SAVE = """
INSERT INTO archive_differences
    (bus, topic, day, ours, archive, only_ours, only_archive, our_ids, archive_ids)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (bus, topic) DO UPDATE SET day = excluded.day, ours = excluded.ours,
    archive = excluded.archive, only_ours = excluded.only_ours,
    only_archive = excluded.only_archive, our_ids = excluded.our_ids,
    archive_ids = excluded.archive_ids
"""
ALL = """
SELECT name, topic, day, ours, archive, only_ours, only_archive, our_ids, archive_ids
FROM archive_differences JOIN buses ON buses.id = archive_differences.bus ORDER BY name, topic
"""
# A message may have been received long after it was sent, but not long before. One that only the
# archive had is younger by its number than by its times. The "+" keeps the database from reading
# all older messages in the order of their numbers.
FIRST = "SELECT min(+seq) FROM messages WHERE received_at >= ? AND received_at < ?"
SENT = """
SELECT messages.sent_at, messages.seq FROM messages
JOIN series ON series.id = messages.series JOIN buses ON buses.id = series.bus
WHERE name = ? AND topic = ? AND messages.seq >= ?
    AND messages.sent_at >= ? AND messages.sent_at < ? ORDER BY messages.sent_at
"""
CLOCKS_DIFFER = 3600.0  # seconds, at most


class Difference(NamedTuple):
    """A topic on one day, by when the messages were sent."""

    bus: str
    topic: str
    day: int  # Unix time / 86400
    ours: int  # messages, with those that only the archive had and that were filled in
    archive: int
    only_ours: int
    only_archive: int
    our_ids: tuple[str, ...] = ()  # the first `IDS_KEPT`
    archive_ids: tuple[str, ...] = ()


class Differences:
    """The last comparison of each topic."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._buses = Buses(db)

    def all(self) -> list[Difference]:
        """Return what is known, by bus and topic."""
        return [_difference(*row) for row in self._db.execute(ALL)]

    def save(self, found: Difference) -> None:
        """Write a comparison in the place of the one before."""
        bus = self._buses.number(found.bus)
        ids = (_lines(found.our_ids), _lines(found.archive_ids))
        self._db.execute(SAVE, (bus, *found[1:7], *ids))
        self._db.execute(
            "DELETE FROM archive_differences WHERE bus = ? AND day < ?",
            (bus, found.day - DAYS_KEPT),
        )

    def begin(self) -> float | None:
        """Return the Unix time from which on all messages are on record; None: there is none."""
        query = "SELECT received_at FROM messages ORDER BY seq LIMIT 1"
        found = self._db.execute(query).fetchone()
        return found and seconds(found[0])

    def sent(self, bus: str, topic: str, since: float, until: float) -> Iterator[tuple[int, int]]:
        """Yield when each message of a topic was sent, in ms, and its number; in this order."""
        begin, end = milliseconds(since), milliseconds(until)
        received = milliseconds(since - CLOCKS_DIFFER), end
        (first,) = self._db.execute(FIRST, received).fetchone()
        yield from self._db.execute(SENT, (bus, topic, first or 0, begin, end))

    def ids(self, numbers: list[int]) -> list[str]:
        """Return the ids of the messages with these numbers, as far as they are on record."""
        return [
            shown_id(identity)
            for some in in_parts(numbers)
            for (identity,) in self._db.execute(
                f"SELECT id FROM messages WHERE seq IN ({places(some)})",  # noqa: S608 - question marks
                some,
            )
        ]


def _difference(*row: Any) -> Difference:
    *found, ours, archive = row
    ids = tuple(ours.splitlines()), tuple(archive.splitlines())
    return Difference(*found)._replace(our_ids=ids[0], archive_ids=ids[1])


def _lines(ids: tuple[str, ...]) -> str:
    """Return ids that are bounded, one on each line."""
    short = (shown_id(stored_id(one)) for one in ids[:IDS_KEPT])
    return "\n".join(one for one in short if one.isprintable())
