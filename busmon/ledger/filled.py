"""Blind times, and the messages of them that only the archive has.

Such a message is on record as any other, so that it is a duplicate if a broker delivers it later.
It is counted in series of its own.
"""

from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from busmon.ledger.batch import Numbers, Observation, WriteBatch
from busmon.ledger.buses import Buses
from busmon.ledger.connection import Connection
from busmon.ledger.values import Interval, milliseconds, seconds, shown_id

TOTALS = """
SELECT topic, outcome, sum(messages) FROM series JOIN buses ON buses.id = series.bus
WHERE name = ? AND filled = 1 GROUP BY topic, outcome
"""
RECEIVED = """
SELECT messages.id, series.topic FROM messages JOIN series ON series.id = messages.series
WHERE messages.bus = (SELECT id FROM buses WHERE name = :bus)
    AND received_at >= :received_since AND received_at < :received_until
    AND sent_at >= :since AND sent_at < :until
    AND filled = 0 AND outcome <> 'invalid'
"""
PRUNED = "SELECT pruned FROM buses WHERE name = ?"
FIRST = """
SELECT received_at FROM messages JOIN series ON series.id = messages.series
WHERE filled = 0 AND (
    CAST(:bus AS TEXT) IS NULL OR messages.bus = (SELECT id FROM buses WHERE name = :bus)
)
ORDER BY received_at LIMIT 1
"""
BACKLOG = """
SELECT EXISTS (
    SELECT 1 FROM messages WHERE bus = (SELECT id FROM buses WHERE name = ?)
        AND received_at >= ? AND sent_at < ?
)
"""
FILLS = """
SELECT since, until, state, reached, messages, seen, holes
FROM archive_fills JOIN buses ON buses.id = archive_fills.bus WHERE name = ? ORDER BY since
"""
SAVE = """
INSERT INTO archive_fills (bus, since, until, state, reached, messages, seen, holes)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (bus, since) DO UPDATE SET until = excluded.until, state = excluded.state,
    reached = excluded.reached, messages = excluded.messages, seen = excluded.seen,
    holes = excluded.holes
"""


class FillState(StrEnum):
    """What the archive had of a blind time."""

    WAITING = "waiting"  # it was not asked for all of it yet
    FILLED = "filled"  # all of it
    PARTLY = "partly"  # it has holes itself
    NOT = "not"  # nothing


class Fill(NamedTuple):
    """A blind time, or several that follow closely; Unix times."""

    since: float
    until: float
    state: FillState = FillState.WAITING
    reached: float | None = None  # read until then, by the times of sending; None: not begun
    messages: int = 0  # that only the archive had
    seen: int = 0  # that the archive had, of all topics
    holes: int = 0  # parts that it does not have completely


class Filled:
    """What the archive has of blind times."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._buses = Buses(db)

    def add(self, observations: Sequence[Observation]) -> int:
        """Record the messages that are not on record yet; return how many there are.

        `received_at` is when they were sent.
        """
        batch = WriteBatch(self._db, Numbers(), filled=True)
        batch.add(observations)
        batch.write_filled()
        return len(batch.new)

    def totals(self, bus: str) -> dict[tuple[str, str], int]:
        """Return how many messages were filled, by topic and outcome."""
        rows = self._db.execute(TOTALS, (bus,))
        return {(topic, outcome): messages for topic, outcome, messages in rows}

    def received(self, bus: str, sent: Interval, received: Interval) -> dict[str, str]:
        """Return the topics of messages that busmon received and the archive should have, by id."""
        times = {
            "since": milliseconds(sent.since),
            "until": milliseconds(sent.until),
            "received_since": milliseconds(received.since),
            "received_until": milliseconds(received.until),
        }
        rows = self._db.execute(RECEIVED, times | {"bus": bus})
        return {shown_id(identity): topic for identity, topic in rows}

    def complete_since(self, bus: str, now: float) -> float:
        """Return since when all that was received is on record: before, messages were pruned."""
        pruned = self._db.execute(PRUNED, (bus,)).fetchone()
        if not pruned or not pruned[0]:
            return 0.0
        first = self.first_received()
        return now if first is None else first

    def first_received(self, bus: str | None = None) -> float | None:
        """Return when the first message on record of a bus, or of any, was received."""
        first = self._db.execute(FIRST, {"bus": bus}).fetchone()
        return first[0] / 1000 if first else None

    def has_backlog(self, bus: str, since: float, sent_before: float) -> bool:
        """Return whether a message came since then that was sent before another time."""
        times = milliseconds(since), milliseconds(sent_before)
        return bool(self._db.execute(BACKLOG, (bus, *times)).fetchone()[0])

    def fills(self, bus: str) -> list[Fill]:
        """Return the blind times, oldest first."""
        return [
            Fill(since / 1000, until / 1000, FillState(state), seconds(reached), *numbers)
            for since, until, state, reached, *numbers in self._db.execute(FILLS, (bus,))
        ]

    def save(self, bus: str, fills: Iterable[Fill]) -> None:
        """Write how blind times are now."""
        number = self._buses.number(bus)
        self._db.executemany(
            SAVE,
            [
                (number, *map(milliseconds, (since, until)), state, milliseconds(reached), *rest)
                for since, until, state, reached, *rest in fills
            ],
        )

    def forget(self, bus: str, fills: Collection[Fill]) -> None:
        """Delete blind times that are no longer on record, or became others."""
        number = self._buses.number(bus)
        delete = "DELETE FROM archive_fills WHERE bus = ? AND since = ?"
        self._db.executemany(delete, [(number, milliseconds(one.since)) for one in fills])
