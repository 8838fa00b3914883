"""Single messages: what is on record of each, from the bus to the workers."""

import sqlite3
from collections.abc import Iterator
from itertools import takewhile
from typing import Any, NamedTuple

from busmon.ledger.values import milliseconds, seconds, shown_id, stored_id
from busmon.message import Stage

FINISHED = frozenset({"succeeded", "failed"})  # final states of a task

TRACES = """
SELECT seen.id, series.topic, series.outcome, reports.state, reports.task, tasks.state
FROM seen JOIN series ON series.id = seen.series
LEFT JOIN reports ON reports.id = seen.id AND reports.bus = seen.bus
LEFT JOIN tasks ON tasks.id = reports.task
WHERE seen.received_at >= ? AND seen.received_at < ?
    AND seen.bus = (SELECT id FROM buses WHERE name = ?)
    AND (series.outcome = 'handled' OR reports.state = 'passed')
"""
ARRIVALS = """
SELECT received_at, outcome, reason FROM seen JOIN series ON series.id = seen.series
WHERE seen.bus = (SELECT id FROM buses WHERE name = ?) AND received_at >= ? AND received_at <= ?
ORDER BY received_at
"""
UNCONFIRMED = """
SELECT seen.id FROM seen JOIN series ON series.id = seen.series
LEFT JOIN reports ON reports.id = seen.id AND reports.bus = seen.bus
LEFT JOIN tasks ON tasks.id = reports.task
WHERE seen.received_at >= ? AND seen.received_at < ?
    AND seen.bus = (SELECT id FROM buses WHERE name = ?)
    AND outcome = 'handled' AND series.topic = coalesce(?, series.topic)
"""
NOT_PASSED = " AND coalesce(reports.state, '') <> 'passed'"
NOT_FINISHED = """ AND reports.state = 'passed'
    AND coalesce(tasks.state, '') NOT IN ('succeeded', 'failed')
"""
FIND = """
SELECT buses.name, coalesce(series.topic, reports.topic), outcome, reason,
    seen.received_at, seen.sent_at, reports.state, reports.reported_at, reports.task,
    tasks.state, tasks.received_at, started_at, finished_at, retries
FROM buses LEFT JOIN seen ON seen.bus = buses.id AND seen.id = :id
LEFT JOIN series ON series.id = seen.series
LEFT JOIN reports ON reports.bus = buses.id AND reports.id = :id
LEFT JOIN tasks ON tasks.id = reports.task
WHERE seen.id IS NOT NULL OR reports.id IS NOT NULL
ORDER BY buses.name
"""


class MessageTrace(NamedTuple):
    """What is known of one message that busmon received, from the bus to the workers."""

    id: str
    topic: str
    handled: bool  # by the rules
    report: str | None = None  # the tap's: passed, dropped or raised; None: no report
    task: str | None = None  # the id of the task that it was passed on as
    state: str | None = None  # received, started, retried, succeeded, failed; None: no event

    @property
    def passed(self) -> bool:
        """Whether the listener passed it on."""
        return self.report == "passed"

    @property
    def finished(self) -> bool:
        """Whether a worker finished its task, successfully or not."""
        return self.state in FINISHED

    def reached(self, stage: Stage) -> bool:
        """Return whether the message reached the stage of the listener or of the workers."""
        return self.passed if stage is Stage.LISTENER else self.finished


class Arrival(NamedTuple):
    """A message that busmon received, and what the rules said of it."""

    received_at: float  # Unix time
    outcome: str
    reason: str


class MessageRecord(NamedTuple):
    """Everything on record of one message on one bus; Unix times, None if unknown."""

    bus: str
    topic: str
    outcome: str | None
    reason: str | None
    received_at: float | None  # by busmon
    sent_at: float | None
    report: str | None  # the tap's: passed, dropped or raised
    reported_at: float | None
    task: str | None  # the id of the task that it was passed on as
    task_state: str | None
    task_received_at: float | None
    started_at: float | None
    finished_at: float | None
    retries: int | None


class Messages:
    """Questions about single messages."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def traces(self, bus: str, start: float, end: float) -> Iterator[MessageTrace]:
        """Yield the messages received in a time that are to be handled, or were passed on."""
        span = milliseconds(start), milliseconds(end), bus
        for identity, topic, outcome, *known in self._db.execute(TRACES, span):
            yield MessageTrace(shown_id(identity), topic, outcome == "handled", *known)

    def arrivals(self, bus: str, start: float, end: float) -> Iterator[Arrival]:
        """Yield all messages that were received from `start` to `end`, in that order."""
        span = bus, milliseconds(start), milliseconds(end)
        for received_at, outcome, reason in self._db.execute(ARRIVALS, span):
            yield Arrival(received_at / 1000, outcome, reason)

    def unconfirmed(
        self, bus: str, stage: Stage, start: float, end: float, topic: str | None = None
    ) -> Iterator[str]:
        """Yield the ids of messages that should have reached a stage, but nobody reported it.

        Of the listener: those to be handled. Of the workers: those that were passed on.
        """
        question = UNCONFIRMED + (NOT_PASSED if stage is Stage.LISTENER else NOT_FINISHED)
        rows = self._db.execute(question, (milliseconds(start), milliseconds(end), bus, topic))
        return (shown_id(identity) for (identity,) in rows)

    def find(self, identity: str) -> list[MessageRecord]:
        """Return what is known of a message, on each bus that has it."""
        rows = self._db.execute(FIND, {"id": stored_id(identity)})
        return [_record(*row) for row in rows]

    def prune(self, before: float | None, limit: int) -> int:
        """Delete at most `limit` messages, the oldest first, up to one of `before` or later.

        None: however young they are. Return how many. After a clock was set back, an older
        message waits until it is its turn.
        """
        rows = self._db.execute(
            "SELECT seq, received_at FROM seen ORDER BY seq LIMIT ?", (limit,)
        ).fetchall()
        horizon = milliseconds(before)
        old = list(takewhile(lambda row: horizon is None or row[1] < horizon, rows))
        if old:
            self._db.execute("DELETE FROM seen WHERE seq <= ?", (old[-1][0],))
        return len(old)

    def oldest(self) -> float | None:
        """Return the Unix time to which the record of single messages reaches back."""
        (first,) = self._db.execute("SELECT min(received_at) FROM seen").fetchone()
        return seconds(first)


def _record(*row: Any) -> MessageRecord:
    bus, topic, outcome, reason, received, sent, state, reported, task, *of_task = row
    work, taken, started, finished, retries = of_task
    return MessageRecord(
        bus,
        topic,
        outcome,
        reason,
        seconds(received),
        seconds(sent),
        state,
        seconds(reported),
        task,
        work,
        seconds(taken),
        seconds(started),
        seconds(finished),
        retries,
    )
