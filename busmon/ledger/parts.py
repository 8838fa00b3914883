"""Parts of the messages, by their numbers: which of them have messages of which series.

With this the newest messages of a series are found in the few parts that have any. An index of
the messages by series would cost more: of each part it would have all messages.
"""

from collections.abc import Collection, Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple

from busmon.ledger.connection import Connection, places

PART = 512  # messages
NO_END = 2**62

# The newest of each series, so that of one that came long ago no other's are read.
OF_ONE = """
SELECT part FROM (
    SELECT part FROM series_parts WHERE series = ? AND part >= ? AND part <= ?
    ORDER BY part DESC LIMIT ?
) AS of_one
"""
MAX_SERIES = 100  # in a query; SQLite can join 500
RANGE = "SELECT seq, series, received_at FROM messages WHERE seq >= ? AND seq < ?"
IN_RANGES = """
SELECT seq FROM ({ranges}) AS parts
WHERE +received_at >= ? AND +received_at < ? AND series IN ({series}) ORDER BY seq DESC LIMIT ?
"""
MAX_RANGES = 32  # in a query


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

        It reads at most twice as many parts as it finds messages, but for the span's ends.
        """
        found: list[int] = []
        parts, number = self._parts(series, span, limit + 2), 1
        while len(found) < limit and (some := list(islice(parts, number))):
            ranges = (
                (max(span.first, part * PART), min(span.end, (part + 1) * PART)) for part in some
            )
            values = *chain(*ranges), span.since, span.until, *series, limit - len(found)
            query = IN_RANGES.format(
                ranges=" UNION ALL ".join([RANGE] * len(some)), series=places(series)
            )
            found += (seq for (seq,) in self._db.execute(query, values))
            number = min(2 * number, MAX_RANGES)
        return found

    def _parts(self, series: Collection[int], span: Span, limit: int) -> Iterator[int]:
        """Yield the parts with messages of these series, the newest first; reads few at once."""
        first, last, every = part_of(span.first), part_of(span.end - 1), list(series)
        while True:
            found: set[int] = set()
            for start in range(0, len(every), MAX_SERIES):
                few = every[start : start + MAX_SERIES]
                query = " UNION ".join([OF_ONE] * len(few))
                values = [value for one in few for value in (one, first, last, limit)]
                found |= {part for (part,) in self._db.execute(query, values)}
            parts = sorted(found, reverse=True)[:limit]
            yield from parts
            if len(parts) < limit:
                return
            last = parts[-1] - 1

    def prune(self, before: int) -> None:
        """Delete what is noted of parts before that of this message."""
        self._db.execute("DELETE FROM series_parts WHERE part < ?", (part_of(before),))
