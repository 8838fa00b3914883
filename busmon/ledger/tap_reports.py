"""What the listener did with each message, as the tap in its process reported it."""

from collections.abc import Iterable
from typing import NamedTuple

from busmon.ledger.buses import Buses
from busmon.ledger.connection import Connection
from busmon.ledger.values import milliseconds, seconds, shown_id, stored_id

# Of several reports of one message, the one that says most stays: passed before dropped, and
# that before raised. In the alphabet "dropped" is before "raised", too.
COLUMNS = ("bus", "id", "topic", "state", "task", "reported_at", "passed_at")
ADD = """
INSERT INTO tap_reports (bus, id, topic, state, task, reported_at, passed_at)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id, bus) DO UPDATE SET state = excluded.state, task = excluded.task,
    reported_at = excluded.reported_at, passed_at = excluded.passed_at
WHERE tap_reports.state <> 'passed'
    AND (excluded.state = 'passed' OR excluded.state < tap_reports.state)
"""
# A message that was passed on again has another task. Usually the newer one counts: the earlier may
# have been purged. But if that has finished, the newer one counts only if it is the better one, or
# if the message is open at a stage behind the listener, so that it was passed on again to heal it.
OPEN_BEHIND = """EXISTS (
    SELECT 1 FROM open_messages AS open WHERE open.id = :id AND open.bus = :bus
        AND open.stage <> 'listener' AND open.state IN ('missing', 'unconfirmed')
)"""
NEWER_COUNTS = f"""{OPEN_BEHIND} OR NOT EXISTS (
    SELECT 1 FROM tasks AS known WHERE known.id = tap_reports.task
        AND known.state IN ('succeeded', 'failed')
        AND NOT (known.state = 'failed' AND EXISTS (
            SELECT 1 FROM tasks AS newer WHERE newer.id = :task AND newer.state = 'succeeded'
        ))
)"""  # noqa: S608 - our own texts
PASSED_AGAIN = f"""
UPDATE tap_reports SET
    reported_at = CASE WHEN {OPEN_BEHIND} THEN :reported_at ELSE reported_at END,
    passed_at = CASE WHEN {NEWER_COUNTS} THEN :passed_at ELSE passed_at END,
    task = CASE WHEN {NEWER_COUNTS} THEN :task ELSE task END,
    other_task = CASE WHEN {NEWER_COUNTS} THEN task ELSE :task END
WHERE id = :id AND bus = :bus AND state = 'passed'
    AND coalesce(task, '') <> :task AND coalesce(other_task, '') <> :task
"""  # noqa: S608 - our own texts


class TapReport(NamedTuple):
    """What the listener did with one message."""

    id: str
    topic: str
    state: str  # passed, dropped or raised
    task: str | None = None  # the id of the task that it was passed on as
    at: float | None = None  # Unix time; None: when it was reported


class TapReports:
    """The reports of the tap, one for each message."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._buses = Buses(db)

    def add(self, bus: str, reports: Iterable[TapReport], now: float) -> None:
        """Write reports that came `now`, a Unix time. When it happened is kept if it was passed."""
        number, reported = self._buses.number(bus), milliseconds(now)
        rows = [_row(number, reported, report) for report in reports]
        if self._db.executemany(ADD, rows).rowcount == len(rows):
            return
        # Some were on record. For the others, this changes nothing: the task is the same.
        named = (dict(zip(COLUMNS, row, strict=True)) for row in rows)
        again = [row for row in named if row["state"] == "passed" and row["task"] is not None]
        self._db.executemany(PASSED_AGAIN, again)

    def message_of(self, task: str) -> str | None:
        """Return the id of the message that was passed on as this task; of several the first."""
        query = "SELECT id FROM tap_reports WHERE task = ? OR other_task = ?"
        return min(
            (shown_id(found) for (found,) in self._db.execute(query, (task, task))), default=None
        )

    def of(self, bus: str) -> list[TapReport]:
        """Return all reports of a bus, in no order."""
        rows = self._db.execute(
            "SELECT id, topic, state, task, passed_at FROM tap_reports"
            " WHERE bus = (SELECT id FROM buses WHERE name = ?)",
            (bus,),
        )
        return [
            TapReport(shown_id(identity), topic, state, task, seconds(at))
            for identity, topic, state, task, at in rows
        ]


def _row(bus: int, reported: int | None, report: TapReport) -> tuple[int | str | bytes | None, ...]:
    identity, topic, state, task, at = report
    passed = (milliseconds(at) or reported) if state == "passed" else None
    return bus, stored_id(identity), topic, state, task, reported, passed
