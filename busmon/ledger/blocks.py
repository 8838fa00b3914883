"""Blocks of messages, by their numbers: which of them have messages of which series.

With this the newest messages of a series are found in the few blocks that have any. An index of
the messages by series would cost more: each batch would change a page of it for each series.
"""

import sqlite3
from collections.abc import Collection, Iterable
from typing import NamedTuple

BLOCK = 4096  # messages
NO_END = 2**62

WITH_SERIES = """
SELECT DISTINCT block FROM series_blocks WHERE block >= ? AND block <= ? AND series IN ({series})
ORDER BY block DESC
"""
IN_BLOCK = """
SELECT seq FROM messages WHERE seq >= ? AND seq < ? AND +received_at >= ? AND +received_at < ?
    AND series IN ({series}) ORDER BY seq DESC LIMIT ?
"""


def block_of(seq: int) -> int:
    """Return the block of a message."""
    return seq // BLOCK


class Span(NamedTuple):
    """The messages with these numbers, received in this time (ms), without the last."""

    first: int = 0
    end: int = NO_END
    since: int = 0
    until: int = NO_END


class SeriesBlocks:
    """Which blocks have messages of which series."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Note that blocks have messages of series."""
        self._db.executemany(
            "INSERT INTO series_blocks (block, series) VALUES (?, ?)"
            " ON CONFLICT (block, series) DO NOTHING",
            pairs,
        )

    def newest(self, series: Collection[int], limit: int, span: Span = Span()) -> list[int]:  # noqa: B008 - it never changes
        """Return the numbers of messages of these series, the newest first.

        It reads at most as many blocks as it finds messages, but for those at the span's ends.
        """
        places = ", ".join("?" * len(series))
        blocks = self._db.execute(
            WITH_SERIES.format(series=places),
            (block_of(span.first), block_of(span.end - 1), *series),
        )
        found: list[int] = []
        for (block,) in blocks:
            first, end = max(span.first, block * BLOCK), min(span.end, (block + 1) * BLOCK)
            rows = self._db.execute(
                IN_BLOCK.format(series=places),
                (first, end, span.since, span.until, *series, limit - len(found)),
            )
            found += (seq for (seq,) in rows)
            if len(found) == limit:
                break
        return found

    def prune(self, before: int) -> None:
        """Delete what is noted of blocks before that of this message."""
        self._db.execute("DELETE FROM series_blocks WHERE block < ?", (block_of(before),))
