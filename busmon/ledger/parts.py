"""Parts of the messages, by their numbers: which of them have messages of which series.

With this the newest messages of a series are found in the few parts that have any. An index of
the messages by series would cost more: each batch would change a page of it for each series.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from busmon.ledger.connection import Connection, places

PART = 512  # messages
NO_END = 2**62

WITH_SERIES = """
SELECT DISTINCT part FROM series_parts WHERE part >= ? AND part <= ? AND series IN ({series})
ORDER BY part DESC LIMIT ?
"""
IN_PART = """
SELECT seq FROM messages WHERE seq >= ? AND seq < ? AND +received_at >= ? AND +received_at < ?
    AND series IN ({series}) ORDER BY seq DESC LIMIT ?
"""


def part_of(seq: int) -> int:
    """Return the part of a message."""
    return seq // PART


class Span(NamedTuple):
    """The messages with these numbers, received in this time (ms), without the last."""

    first: int = 0
    end: int = NO_END
    since: int = 0
    until: int = NO_END


class SeriesParts:
    """Which parts have messages of which series."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def add(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Note that parts have messages of series."""
        self._db.executemany(
            "INSERT INTO series_parts (part, series) VALUES (?, ?)"
            " ON CONFLICT (part, series) DO NOTHING",
            pairs,
        )

    def newest(self, series: Collection[int], limit: int, span: Span = Span()) -> list[int]:  # noqa: B008 - it never changes
        """Return the numbers of messages of these series, the newest first.

        It reads at most as many parts as it finds messages, but for those at the span's ends.
        """
        marks = places(series)
        found: list[int] = []
        for part in self._parts(series, span, limit + 2):  # nearly always enough: one at each end
            first, end = max(span.first, part * PART), min(span.end, (part + 1) * PART)
            rows = self._db.execute(
                IN_PART.format(series=marks),
                (first, end, span.since, span.until, *series, limit - len(found)),
            )
            found += (seq for (seq,) in rows)
            if len(found) == limit:
                break
        return found

    def _parts(self, series: Collection[int], span: Span, limit: int) -> Iterator[int]:
        """Yield the parts with messages of these series, the newest first; reads few at once."""
        query, last = WITH_SERIES.format(series=places(series)), part_of(span.end - 1)
        while True:
            rows = self._db.execute(query, (part_of(span.first), last, *series, limit)).fetchall()
            yield from (part for (part,) in rows)
            if len(rows) < limit:
                return
            last = rows[-1][0] - 1

    def prune(self, before: int) -> None:
        """Delete what is noted of parts before that of this message."""
        self._db.execute("DELETE FROM series_parts WHERE part < ?", (part_of(before),))
