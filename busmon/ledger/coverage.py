"""When each observer watched the listener or its workers: "no data" is not "missing".

An observer is named by its kind and the bus: `tap:fedora`, `ready:fedora`, `celery:fedora`. The
intervals of `listener:fedora` are the times in which a listener with a tap ran; `ended:fedora` has
the ends of those that ended in order. By the looks at its queue, the queue was there in the times
of `present:fedora`, and not there, or not all the time, in those of `absent:fedora`. In those of
`replica:fedora`, a busmon received from the bus that follows another one; `forgotten:fedora` has
when such a one found that the broker had kept nothing.
"""

from busmon.ledger.connection import Connection
from busmon.ledger.values import Interval, milliseconds, seconds

MAX_GAP_SECONDS = 30.0  # between two signs of life; a longer gap is a time without data


def observer_id(kind: str, bus: str) -> str:
    """Return the name of an observer: `tap:fedora`."""
    return f"{kind}:{bus}"


class ObserverCoverage:
    """The intervals in which each observer watched without a gap; all times are Unix times."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def extend(self, observer: str, now: float, since: float | None = None) -> None:
        """Write that the observer watches at `now`, and has watched `since` then, if given.

        A gap of less than `MAX_GAP_SECONDS` after the last interval is closed. After a longer
        one a new interval begins.
        """
        until = milliseconds(now) or 0
        first = until if since is None else milliseconds(min(since, now)) or 0
        extended = self._db.execute(
            "UPDATE coverage SET until = CASE WHEN until < :until THEN :until ELSE until END"
            " WHERE observer = :observer AND until > :reach"
            " AND since = (SELECT max(since) FROM coverage WHERE observer = :observer)",
            {"observer": observer, "until": until, "reach": first - int(MAX_GAP_SECONDS * 1000)},
        ).rowcount
        if not extended:
            self._insert(observer, first, until)

    def add_span(self, observer: str, since: float, until: float, max_gap: float) -> None:
        """Write that the observer watched from `since` to `until`. Spans come in any order.

        Known intervals that are at most `max_gap` seconds away become one interval with it.
        """
        first, last, gap = (milliseconds(time) or 0 for time in (since, until, max_gap))
        near = "FROM coverage WHERE observer = ? AND until >= ? AND since <= ?"
        bounds = (observer, first - gap, last + gap)
        for known in self._db.execute(f"SELECT since, until {near}", bounds):
            first, last = min(first, known[0]), max(last, known[1])
        self._db.execute(f"DELETE {near}", bounds)
        self._insert(observer, first, last)

    def start(self, observer: str, now: float) -> None:
        """Write that the observer watches from `now` on; the gap before stays, however short."""
        at = milliseconds(now) or 0
        self._insert(observer, at, at)

    def forget(self, kind: str, before: int | None) -> None:
        """Forget that observers of a kind watched before a time, in ms; None stands for never."""
        of_kind = "FROM coverage WHERE observer LIKE ? AND since < ?"
        parameters = observer_id(kind, "%"), before
        known = f"SELECT observer, max(until) {of_kind} GROUP BY observer"
        left = [one for one in self._db.execute(known, parameters) if before and one[1] >= before]
        self._db.execute(f"DELETE {of_kind}", parameters)
        for observer, until in left:
            self._insert(observer, before or 0, until)

    def is_covered(self, observer: str, start: float, end: float) -> bool:
        """Return whether the observer watched from `start` to `end` without a gap."""
        return self.covered_since(observer, start, end) is not None

    def covered_since(self, observer: str, start: float, end: float) -> float | None:
        """Return since when the observer watched without a gap, or None if not all is covered."""
        (found,) = self._db.execute(
            "SELECT max(since) FROM coverage WHERE observer = ? AND since <= ? AND until >= ?",
            (observer, milliseconds(start), milliseconds(end)),
        ).fetchone()
        return seconds(found)

    def reaches(self, observer: str, until: float) -> bool:
        """Return whether the observer watched at `until` or later."""
        found = self._db.execute(
            "SELECT EXISTS (SELECT 1 FROM coverage WHERE observer = ? AND until >= ?)",
            (observer, milliseconds(until)),
        ).fetchone()
        return bool(found[0])

    def last_end(self, observer: str) -> float | None:
        """Return until when the observer watched last, None if it never did."""
        query = "SELECT max(until) FROM coverage WHERE observer = ?"
        return seconds(self._db.execute(query, (observer,)).fetchone()[0])

    def last(self, observer: str) -> Interval | None:
        """Return the last interval, None without any."""
        row = self._db.execute(
            "SELECT since, until FROM coverage WHERE observer = ? ORDER BY since DESC LIMIT 1",
            (observer,),
        ).fetchone()
        return Interval(row[0] / 1000, row[1] / 1000) if row else None

    def intervals(self, observer: str) -> list[Interval]:
        """Return all known intervals, oldest first."""
        rows = self._db.execute(
            "SELECT since, until FROM coverage WHERE observer = ? ORDER BY since", (observer,)
        )
        return [Interval(since / 1000, until / 1000) for since, until in rows]

    def _insert(self, observer: str, first: int, last: int) -> None:
        self._db.execute(
            "INSERT INTO coverage (observer, since, until) VALUES (?, ?, ?)"
            " ON CONFLICT (observer, since) DO NOTHING",
            (observer, first, last),
        )
