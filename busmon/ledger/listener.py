"""What the listener's own monitor said: its totals over restarts."""

from collections.abc import Mapping
from typing import NamedTuple

from busmon.ledger.connection import Connection


class Increase(NamedTuple):
    """A count of the listener: its last value, and by how much it has grown."""

    last: int  # as the monitor said, since the listener's start
    grown: int


class ListenerCounts:
    """The counts of each bus's listener, by state."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def last(self, bus: str) -> dict[str, int]:
        """Return each count as the monitor said it last."""
        return self._counts("last", bus)

    def totals(self, bus: str) -> dict[str, int]:
        """Return each count, added up over the listener's restarts."""
        return self._counts("total", bus)

    def add(self, bus: str, increases: Mapping[str, Increase]) -> None:
        """Write the last values, and add what they have grown by to the totals."""
        self._db.executemany(
            "INSERT INTO listener_counts (bus, state, last, total) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (bus, state) DO UPDATE SET last = excluded.last,"
            " total = listener_counts.total + excluded.total",
            [(bus, state, *increase) for state, increase in increases.items()],
        )

    def _counts(self, column: str, bus: str) -> dict[str, int]:
        query = f"SELECT state, {column} FROM listener_counts WHERE bus = ?"  # noqa: S608 - our own name
        return dict(self._db.execute(query, (bus,)).fetchall())
