"""Messages that a closed window left open: missing, or still with a worker."""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from busmon.ledger.buses import Buses
from busmon.ledger.messages import MessageTrace
from busmon.ledger.values import milliseconds, seconds, shown_id, stored_id
from busmon.message import Stage

MISSING = """
SELECT open.start, buses.name, open.stage, open.id, open.topic,
    tap_reports.state, tap_reports.task, tasks.state
FROM missing_messages AS open JOIN buses ON buses.id = open.bus
LEFT JOIN tap_reports ON tap_reports.id = open.id AND tap_reports.bus = open.bus
LEFT JOIN tasks ON tasks.id = tap_reports.task
WHERE recovered_at IS NULL AND open.start >= ?
    AND (open.start, open.id, open.bus, open.stage) > (?, ?, ?, ?)
ORDER BY open.start, open.id, open.bus, open.stage LIMIT ?
"""
RUNNING = """
SELECT open.start, buses.name, open.id, open.topic,
    tap_reports.state, tap_reports.task, tasks.state, due
FROM running_messages AS open JOIN buses ON buses.id = open.bus
LEFT JOIN tap_reports ON tap_reports.id = open.id AND tap_reports.bus = open.bus
LEFT JOIN tasks ON tasks.id = tap_reports.task
WHERE tasks.state IN ('succeeded', 'failed') OR due <= ? ORDER BY due LIMIT ?
"""
LISTED = """
SELECT open.start, coalesce(windows.until, open.start), buses.name, open.stage,
    open.topic, open.id
FROM missing_messages AS open JOIN buses ON buses.id = open.bus
LEFT JOIN windows ON windows.start = open.start AND windows.bus = open.bus
    AND windows.topic = open.topic AND windows.stage = open.stage
WHERE recovered_at IS NULL AND coalesce(windows.until, open.start) > ?
    AND buses.name = coalesce(?, name) AND open.topic = coalesce(?, open.topic)
ORDER BY open.start, buses.name, open.stage, open.topic, open.id
"""
HISTORY = """
SELECT stage, start, recovered_at FROM missing_messages AS open JOIN buses ON buses.id = open.bus
WHERE open.id = ? AND name = ? ORDER BY stage
"""


class OpenMessage(NamedTuple):
    """A message that did not reach a stage, or not yet; Unix times."""

    start: float  # of its window
    bus: str
    stage: Stage
    trace: MessageTrace
    due: float | None = None  # with a worker: from when on it is missing


class ListedMessage(NamedTuple):
    """A missing message as people ask for it; Unix times."""

    start: float  # of its window
    until: float
    bus: str
    stage: Stage
    topic: str
    id: str


class MissingAt(NamedTuple):
    """Where and when one message was missing; Unix times."""

    stage: Stage
    start: float  # of its window
    recovered_at: float | None


class OpenMessages:
    """The messages that closed windows left open."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._buses = Buses(db)

    def add_missing(
        self, bus: str, start: float, found: Iterable[tuple[Stage, MessageTrace]]
    ) -> None:
        """Add messages that are missing at a stage, of the window that began at `start`."""
        number, began = self._buses.number(bus), milliseconds(start)
        self._db.executemany(
            "INSERT INTO missing_messages (bus, id, stage, topic, start) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (id, bus, stage) DO NOTHING",
            [(number, stored_id(trace.id), stage, trace.topic, began) for stage, trace in found],
        )

    def add_running(
        self, bus: str, start: float, found: Iterable[MessageTrace], due: float
    ) -> None:
        """Add messages that a worker has, or is to take, until `due`."""
        number, began, end = self._buses.number(bus), milliseconds(start), milliseconds(due)
        self._db.executemany(
            "INSERT INTO running_messages (bus, id, topic, start, due) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (id, bus) DO NOTHING",
            [(number, stored_id(trace.id), trace.topic, began, end) for trace in found],
        )

    def missing(self, since: float, after: OpenMessage | None, limit: int) -> list[OpenMessage]:
        """Return the next missing messages of windows that began at `since` or later.

        `after` is the last one of the call before, None at the beginning.
        """
        last = (
            (milliseconds(after.start), stored_id(after.trace.id), self._buses.number(after.bus))
            if after
            else (0, "", 0)
        )
        stage = after.stage if after else ""
        rows = self._db.execute(MISSING, (milliseconds(since), *last, stage, limit))
        return [
            OpenMessage(start / 1000, bus, Stage(stage), _trace(*row))
            for start, bus, stage, *row in rows
        ]

    def running(self, due: float, limit: int) -> list[OpenMessage]:
        """Return messages that a worker has finished, or should have by `due`."""
        return [
            OpenMessage(start / 1000, bus, Stage.WORKER, _trace(*row), end / 1000)
            for start, bus, *row, end in self._db.execute(RUNNING, (milliseconds(due), limit))
        ]

    def mark_recovered(self, message: OpenMessage, now: float) -> None:
        """Write that a missing message has reached its stage after all."""
        identity, number = stored_id(message.trace.id), self._buses.number(message.bus)
        self._db.execute(
            "UPDATE missing_messages SET recovered_at = ? WHERE id = ? AND bus = ? AND stage = ?",
            (milliseconds(now), identity, number, message.stage),
        )

    def remove_running(self, message: OpenMessage) -> None:
        """Remove a message that no worker has any longer."""
        key = stored_id(message.trace.id), self._buses.number(message.bus)
        self._db.execute("DELETE FROM running_messages WHERE id = ? AND bus = ?", key)

    def listed(
        self, since: float, bus: str | None = None, topic: str | None = None
    ) -> Iterator[ListedMessage]:
        """Yield the missing messages of windows that ended after `since`, window by window."""
        for start, until, name, stage, of, identity in self._db.execute(
            LISTED, (milliseconds(since), bus, topic)
        ):
            at = start / 1000, until / 1000
            yield ListedMessage(*at, name, Stage(stage), of, shown_id(identity))

    def history(self, bus: str, identity: str) -> list[MissingAt]:
        """Return the stages at which a message was missing."""
        return [
            MissingAt(Stage(stage), start / 1000, seconds(recovered))
            for stage, start, recovered in self._db.execute(HISTORY, (stored_id(identity), bus))
        ]


def _trace(identity: str | bytes, topic: str, *known: str | None) -> MessageTrace:
    return MessageTrace(shown_id(identity), topic, True, *known)
