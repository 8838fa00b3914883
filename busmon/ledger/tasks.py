"""What the workers did with each task, by Celery's events."""

import sqlite3
from typing import NamedTuple

from busmon.ledger.values import milliseconds, seconds

# What succeeded once is done, even if the broker delivers it again.
RECEIVED = """
INSERT INTO tasks (id, name, state, received_at, retries) VALUES (?, ?, 'received', ?, 0)
ON CONFLICT (id) DO UPDATE SET state = 'received', finished_at = NULL
WHERE tasks.state <> 'succeeded'
"""
CHANGED = """
UPDATE tasks SET state = :state,
    retries = CASE WHEN :state = 'retried' THEN retries + 1 ELSE retries END,
    started_at = CASE WHEN :state = 'started' THEN :at ELSE started_at END,
    finished_at = CASE WHEN :state IN ('succeeded', 'failed') THEN :at END
WHERE id = :id AND state <> 'succeeded'
"""


class Task(NamedTuple):
    """What is known of a task; Unix times."""

    id: str
    name: str
    state: str  # received, started, retried, succeeded or failed
    received_at: float | None
    started_at: float | None
    finished_at: float | None
    retries: int


class Tasks:
    """The tasks of which an event came."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def exist(self) -> bool:
        """Return whether any task is on record."""
        return bool(self._db.execute("SELECT EXISTS (SELECT 1 FROM tasks)").fetchone()[0])

    def get(self, task: str) -> Task | None:
        """Return what is known of a task, by its id."""
        found = self._db.execute(
            "SELECT id, name, state, received_at, started_at, finished_at, retries"
            " FROM tasks WHERE id = ?",
            (task,),
        ).fetchone()
        if not found:
            return None
        _, name, state, *times, retries = found
        received, started, finished = map(seconds, times)
        return Task(task, name, state, received, started, finished, retries)

    def receive(self, task: str, name: str, at: float) -> None:
        """Write that a worker received a task."""
        self._db.execute(RECEIVED, (task, name, milliseconds(at)))

    def change(self, task: str, state: str, at: float) -> None:
        """Write the new state of a task that a worker received before."""
        self._db.execute(CHANGED, {"state": state, "id": task, "at": milliseconds(at)})
