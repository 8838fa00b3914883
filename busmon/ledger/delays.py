"""When the messages that should be handled came from one stage to the next."""

from collections.abc import Iterator
from typing import NamedTuple

from busmon.ledger.connection import Connection
from busmon.ledger.values import milliseconds, seconds

# A message that was passed on again, usually to heal a gap, has another task. It counts no more.
REPORTED = """
SELECT messages.received_at, passed_at, tasks.id, tasks.state, started_at, finished_at
FROM tap_reports JOIN messages ON messages.id = tap_reports.id AND messages.bus = tap_reports.bus
JOIN series ON series.id = messages.series
LEFT JOIN tasks ON tasks.id = tap_reports.task AND finished_at < :since
    AND tasks.state IN ('succeeded', 'failed')
WHERE reported_at >= :since AND reported_at < :until
    AND tap_reports.bus = (SELECT id FROM buses WHERE name = :bus)
    AND tap_reports.state = 'passed' AND other_task IS NULL AND outcome = 'handled' AND filled = 0
"""
FINISHED = """
SELECT messages.received_at, passed_at, tasks.id, tasks.state, started_at, finished_at
FROM tasks JOIN tap_reports ON tap_reports.task = tasks.id
JOIN messages ON messages.id = tap_reports.id AND messages.bus = tap_reports.bus
JOIN series ON series.id = messages.series
WHERE finished_at >= :since AND finished_at < :until AND reported_at < :until
    AND tasks.state IN ('succeeded', 'failed')
    AND tap_reports.bus = (SELECT id FROM buses WHERE name = :bus)
    AND tap_reports.state = 'passed' AND other_task IS NULL AND outcome = 'handled' AND filled = 0
"""
# Trees of more than one task of which all have succeeded. What changed last was the end of a task,
# or the report of the listener.
SUCCEEDED = """
SELECT of_root.finished_at, max(of_tree.finished_at)
FROM (
    SELECT root FROM tasks WHERE finished_at >= :since AND finished_at < :until
    UNION SELECT task FROM tap_reports WHERE reported_at >= :since AND reported_at < :until
) AS changed
JOIN tap_reports ON tap_reports.task = changed.root
JOIN messages ON messages.id = tap_reports.id AND messages.bus = tap_reports.bus
JOIN series ON series.id = messages.series
JOIN tasks AS of_root ON of_root.id = changed.root
JOIN tasks AS of_tree ON of_tree.root = changed.root
WHERE tap_reports.bus = (SELECT id FROM buses WHERE name = :bus)
    AND tap_reports.state = 'passed' AND other_task IS NULL AND outcome = 'handled' AND filled = 0
    AND reported_at < :until
GROUP BY changed.root, of_root.finished_at, reported_at HAVING count(*) > 1
    AND sum(CASE WHEN of_tree.state = 'succeeded' THEN 0 ELSE 1 END) = 0
    AND max(of_tree.finished_at) < :until
    AND (max(of_tree.finished_at) >= :since OR reported_at >= :since)
"""


class Passage(NamedTuple):
    """How a message was passed on, and its task if that is finished; Unix times."""

    received_at: float  # by busmon
    passed_at: float  # by the listener
    task: str | None
    state: str | None  # succeeded or failed
    started_at: float | None  # the last time; None: nobody saw it
    finished_at: float | None


class Delays:
    """Questions about the times of messages, by when busmon learned of them."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def reported(self, bus: str, since: float, until: float) -> Iterator[Passage]:
        """Yield what was reported as passed on from `since` to before `until`; Unix times.

        It has its task if that was finished before.
        """
        return self._passages(REPORTED, bus, since, until)

    def finished(self, bus: str, since: float, until: float) -> Iterator[Passage]:
        """Yield what a worker finished from `since` to before `until`; Unix times."""
        return self._passages(FINISHED, bus, since, until)

    def succeeded(self, bus: str, since: float, until: float) -> Iterator[tuple[float, float]]:
        """Yield when the task of a message and the last of its handlers were finished.

        Of those whose last one succeeded from `since` to before `until`; Unix times.
        """
        for first, last in self._db.execute(SUCCEEDED, _span(bus, since, until)):
            yield first / 1000, last / 1000

    def _passages(self, query: str, bus: str, since: float, until: float) -> Iterator[Passage]:
        rows = self._db.execute(query, _span(bus, since, until))
        for received, passed, task, state, *times in rows:
            yield Passage(received / 1000, passed / 1000, task, state, *map(seconds, times))


def _span(bus: str, since: float, until: float) -> dict[str, str | int | None]:
    return {"bus": bus, "since": milliseconds(since), "until": milliseconds(until)}
