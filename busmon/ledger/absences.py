"""Messages that came while the listener was absent."""

from busmon.ledger.connection import Connection
from busmon.ledger.messages import MessageTrace
from busmon.ledger.values import milliseconds, seconds, shown_id

FIRST = """
SELECT received_at FROM messages JOIN series ON series.id = messages.series
WHERE messages.bus = (SELECT id FROM buses WHERE name = ?)
    AND received_at >= ? AND outcome = 'handled' AND filled = 0
ORDER BY received_at LIMIT 1
"""
HANDLED = """
SELECT messages.id, series.topic, received_at
FROM messages JOIN series ON series.id = messages.series
WHERE messages.bus = (SELECT id FROM buses WHERE name = :bus)
    AND received_at >= :since AND received_at < :until
    AND outcome = 'handled'
    AND NOT EXISTS (
        SELECT 1 FROM open_messages AS open
        WHERE open.id = messages.id AND open.bus = messages.bus AND open.stage = 'listener'
    )
ORDER BY received_at LIMIT :limit
"""


class AbsentMessages:
    """Questions about messages that may have come while no listener had a queue."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def first_handled(self, bus: str, since: float) -> float | None:
        """Return when the first message for the listener came at `since` or later; Unix times."""
        found = self._db.execute(FIRST, (bus, milliseconds(since))).fetchone()
        return seconds(found[0]) if found else None

    def not_counted(self, bus: str, since: float, until: float, limit: int) -> list[MessageTrace]:
        """Return messages for the listener that no window and nothing else has left open there."""
        times = {"since": milliseconds(since), "until": milliseconds(until)}
        rows = self._db.execute(HANDLED, times | {"bus": bus, "limit": limit})
        return [
            MessageTrace(shown_id(identity), topic, True, received_at=seconds(received))
            for identity, topic, received in rows
        ]
