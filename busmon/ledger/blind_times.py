"""When busmon did not receive from a bus, because it was disconnected or not running."""

from collections.abc import Iterable
from typing import NamedTuple

from busmon.ledger.buses import Buses
from busmon.ledger.connection import Connection
from busmon.ledger.values import Interval, milliseconds, seconds


class BlindRecord(NamedTuple):
    """What is on record of one bus; Unix times."""

    watched_until: float  # busmon is known to have received until then
    total: float  # seconds of all blind times that have ended
    intervals: tuple[Interval, ...]  # oldest first


class BlindTimes:
    """The blind times of each bus. One is written when it ends."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._buses = Buses(db)

    def load(self, bus: str, now: float, oldest: float) -> BlindRecord:
        """Return what is known of a bus since `oldest`; a new bus is watched from `now` on."""
        number = self._buses.number(bus)
        self._db.execute(
            "UPDATE buses SET watched_until = ? WHERE id = ? AND watched_until IS NULL",
            (milliseconds(now), number),
        )
        found = self._db.execute("SELECT watched_until, blind FROM buses WHERE id = ?", (number,))
        watched, total = found.fetchone()
        rows = self._db.execute(
            "SELECT since, until FROM blind_times WHERE bus = ? AND until > ? ORDER BY since",
            (number, milliseconds(oldest)),
        )
        intervals = tuple(Interval(since / 1000, until / 1000) for since, until in rows)
        return BlindRecord(watched / 1000, total / 1000, intervals)

    def save(self, bus: str, watched_until: float, total: float, new: Iterable[Interval]) -> None:
        """Write how a bus is now, with the blind times that are not on record yet.

        Those that begin after `watched_until` are not true: a clock was wrong.
        """
        number = self._buses.number(bus)
        self._db.execute(
            "DELETE FROM blind_times WHERE bus = ? AND since >= ?",
            (number, milliseconds(watched_until)),
        )
        self._db.execute(
            "UPDATE buses SET watched_until = ?, blind = ? WHERE id = ?",
            (milliseconds(watched_until), milliseconds(total), number),
        )
        self._db.executemany(
            "INSERT INTO blind_times (bus, since, until) VALUES (?, ?, ?)"
            " ON CONFLICT (bus, since) DO UPDATE SET until = excluded.until",
            [(number, milliseconds(since), milliseconds(until)) for since, until in new],
        )

    def prune(self, before: float) -> None:
        """Delete the blind times that ended before then."""
        self._db.execute("DELETE FROM blind_times WHERE until < ?", (milliseconds(before),))

    def between(self, bus: str, start: float, end: float) -> list[Interval]:
        """Return the blind times that have ended and reach into this time, oldest first."""
        found = self._db.execute(
            "SELECT since, until FROM blind_times JOIN buses ON buses.id = blind_times.bus"
            " WHERE name = ? AND since < ? AND until > ? ORDER BY since",
            (bus, milliseconds(end), milliseconds(start)),
        )
        return [Interval(since / 1000, until / 1000) for since, until in found]

    def was_blind(self, bus: str, start: float, end: float) -> bool:
        """Return whether a blind time that has ended reaches into this time."""
        return bool(self.between(bus, start, end))

    def was_watched_at(self, bus: str, time: float) -> bool:
        """Return whether no blind time that still lasts began before then."""
        found = self._db.execute(
            "SELECT EXISTS (SELECT 1 FROM buses WHERE name = ? AND watched_until < ?)",
            (bus, milliseconds(time)),
        ).fetchone()
        return not found[0]

    def last_end(self, bus: str, before: float) -> float | None:
        """Return when the last blind time ended of those that began before then, if any."""
        (found,) = self._db.execute(
            "SELECT max(until) FROM blind_times JOIN buses ON buses.id = blind_times.bus"
            " WHERE name = ? AND since <= ?",
            (bus, milliseconds(before)),
        ).fetchone()
        return seconds(found)
