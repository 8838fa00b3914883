"""The processes of the listener that have a tap, and how much they reported in all.

It is written in the transaction of the reports. So whoever takes the next batch, after a restart or
as another busmon that leads now, knows whether this one was taken.
"""

from collections.abc import Mapping

from busmon.ledger.buses import Buses
from busmon.ledger.connection import Connection
from busmon.ledger.values import milliseconds

PROCESSES_KEPT = 100  # of each bus: those that reported last
ADD = """
INSERT INTO tap_processes (bus, tap, seq, ended, reported_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (bus, tap) DO UPDATE SET
    seq = excluded.seq, ended = excluded.ended, reported_at = excluded.reported_at
WHERE excluded.seq > tap_processes.seq
"""
PRUNE = """
DELETE FROM tap_processes WHERE bus = :bus AND tap <> :tap AND tap NOT IN (
    SELECT tap FROM tap_processes WHERE bus = :bus ORDER BY reported_at DESC, tap LIMIT :kept
)
"""
COUNT = """
INSERT INTO tap_totals (bus, state, reports) VALUES (?, ?, ?)
ON CONFLICT (bus, state) DO UPDATE SET reports = tap_totals.reports + excluded.reports
"""


class Taps:
    """The processes, each of which numbers its batches from 1, and the sums of their reports."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._buses = Buses(db)

    def add_batch(self, bus: str, tap: str, seq: int, now: float, *, last: bool) -> bool:
        """Write that a process sent a batch, perhaps its `last`; return whether that is new.

        One with this number or a larger one may have come before: then nothing changes.
        """
        number = self._buses.number(bus)
        row = number, tap, seq, int(last), milliseconds(now)
        new = bool(self._db.execute(ADD, row).rowcount)
        self._db.execute(PRUNE, {"bus": number, "tap": tap, "kept": PROCESSES_KEPT})
        return new

    def has_unended(self, bus: str, but: str, since: float) -> bool:
        """Return whether another process than `but` reported since then and has not ended.

        Such a process may be there, or was killed with more to report.
        """
        found = self._db.execute(
            "SELECT EXISTS (SELECT 1 FROM tap_processes"
            " WHERE bus = ? AND tap <> ? AND ended = 0 AND reported_at >= ?)",
            (self._buses.number(bus), but, milliseconds(since)),
        ).fetchone()
        return bool(found[0])

    def count(self, bus: str, reports: Mapping[str, int]) -> None:
        """Add reports to the totals, by their state."""
        number = self._buses.number(bus)
        self._db.executemany(COUNT, [(number, *one) for one in reports.items()])

    def totals(self, bus: str) -> dict[str, int]:
        """Return how many reports were counted ever, by their state."""
        rows = self._db.execute(
            "SELECT state, reports FROM tap_totals JOIN buses ON buses.id = bus WHERE name = ?",
            (bus,),
        )
        return dict(rows.fetchall())
