"""What people ask of a topic: its counts by time, its newest messages, how long they took.

Each query is bounded, whatever the ledger holds: by its hours, or by a number of messages.
"""

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from busmon.ledger.connection import Connection, places
from busmon.ledger.parts import SeriesParts
from busmon.ledger.values import milliseconds, seconds, shown_id

RECENT = """
SELECT name, topic, outcome, sum(hourly_sums.messages)
FROM hourly_sums JOIN series ON series.id = hourly_sums.series
JOIN buses ON buses.id = series.bus
WHERE hour >= ? AND hour < ? GROUP BY name, topic, outcome
"""
SERIES = """
SELECT series.id, outcome, reason, filled FROM series JOIN buses ON buses.id = series.bus
WHERE name = ? AND topic = ?
"""
# Hour by hour, so that only the rows of a topic are read: the keys of the sums begin with the hour.
# If the database does it otherwise, it reads no other hours.
HOURS = """
WITH RECURSIVE hours (hour) AS (
    SELECT ? UNION ALL SELECT hour + 1 FROM hours WHERE hour + 1 < ?
)
"""
BY_TIME = f"""
{HOURS} SELECT hours.hour / ?, series, sum(messages) FROM hours CROSS JOIN hourly_sums
WHERE hourly_sums.hour = hours.hour AND series IN ({{numbers}})
    AND hourly_sums.hour >= ? AND hourly_sums.hour < ? GROUP BY 1, series
"""  # noqa: S608 - our own text
ARCHIVED = f"""
{HOURS} SELECT hours.hour / ?, sum(messages) FROM hours CROSS JOIN archive_sums
WHERE archive_sums.hour = hours.hour AND topic = (
    SELECT archive_topics.id FROM archive_topics JOIN buses ON buses.id = archive_topics.bus
    WHERE name = ? AND archive_topics.topic = ?
) AND archive_sums.hour >= ? AND archive_sums.hour < ? GROUP BY 1
"""  # noqa: S608 - our own text
HANDLED_BY_HOUR = """
SELECT name, hour, sum(hourly_sums.messages)
FROM hourly_sums JOIN series ON series.id = hourly_sums.series
JOIN buses ON buses.id = series.bus
WHERE hour >= ? AND hour < ? AND outcome = 'handled' GROUP BY name, hour
"""
REACHED = """
SELECT (SELECT name FROM buses WHERE id = bus), stage, start / 3600000,
    sum(messages + recovered), count(*) - count(messages)
FROM windows WHERE start >= ? AND start < ? AND stage IN ('listener', 'worker')
GROUP BY bus, stage, start / 3600000
"""
# A message that was passed on again, usually to heal a gap, counts for no delay.
MESSAGES = """
SELECT messages.id, outcome, reason, filled, messages.received_at, messages.sent_at,
    tap_reports.state, tasks.state, CASE WHEN other_task IS NULL THEN passed_at END,
    tasks.started_at, CASE WHEN tasks.state IN ('succeeded', 'failed') THEN tasks.finished_at END,
    (
        SELECT CASE WHEN count(*) > 1 AND count(*) =
            sum(CASE WHEN state = 'succeeded' THEN 1 ELSE 0 END) THEN max(finished_at) END
        FROM tasks AS member WHERE member.root = tap_reports.task
    )
FROM messages JOIN series ON series.id = messages.series
LEFT JOIN tap_reports ON tap_reports.id = messages.id AND tap_reports.bus = messages.bus
LEFT JOIN tasks ON tasks.id = tap_reports.task
WHERE messages.seq IN ({numbers}) ORDER BY messages.seq DESC
"""


class RecentSum(NamedTuple):
    """The messages of a topic with one outcome in some hours."""

    bus: str
    topic: str
    outcome: str
    messages: int


class TimeSum(NamedTuple):
    """The messages of a topic with one outcome and reason in one span of time."""

    time: int  # Unix time / the length of the spans
    outcome: str
    reason: str
    messages: int


class ReachedSum(NamedTuple):
    """What reached a stage in the windows of one hour; `messages` is None without all data."""

    bus: str
    stage: str
    hour: int  # Unix time / 3600
    messages: int | None


class TopicMessage(NamedTuple):
    """A message and its way; Unix times, None if unknown."""

    id: str
    outcome: str
    reason: str
    filled: bool  # busmon did not receive it, and has it from the archive
    received_at: float  # by busmon; of a filled message, when it was sent
    sent_at: float | None
    report: str | None  # the tap's: passed, dropped or raised
    task: str | None  # the state of its task
    passed_at: float | None  # by the listener
    started_at: float | None
    finished_at: float | None
    tree_finished_at: float | None  # when the last of its handlers succeeded, if all did


class Topics:
    """Questions about the messages of a topic, or of all."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def recent(self, first: int, end: int) -> Iterator[RecentSum]:
        """Yield the sums of all topics over the hours from `first` on and before `end`."""
        return map(RecentSum._make, self._db.execute(RECENT, (first, end)))

    def by_time(self, bus: str, topic: str, first: int, end: int, length: int = 1) -> list[TimeSum]:
        """Return the sums of the hours from `first` on and before `end`, `length` hours each."""
        series = self._series(bus, topic)
        query = BY_TIME.format(numbers=places(series))
        rows = self._db.execute(query, (first, end, length, *series, first, end))
        return [TimeSum(time, *series[number][:2], messages) for time, number, messages in rows]

    def archived(
        self, topic: tuple[str, str], first: int, end: int, length: int = 1
    ) -> dict[int, int]:
        """Return what an archive has of a bus and topic in the same way, for times with any."""
        return dict(self._db.execute(ARCHIVED, (first, end, length, *topic, first, end)).fetchall())

    def begun(self) -> float | None:
        """Return when the first message came of which anything is known, as a Unix time.

        If it is no longer on record, the beginning of its hour.
        """
        (hour,) = self._db.execute("SELECT min(hour) FROM hourly_sums").fetchone()
        if hour is None:
            return None
        first, end = hour * 3600, (hour + 1) * 3600
        found = self._db.execute(
            "SELECT min(received_at) FROM messages WHERE received_at >= ? AND received_at < ?",
            (milliseconds(first), milliseconds(end)),
        )
        return seconds(found.fetchone()[0]) or float(first)

    def handled_by_hour(self, first: int, end: int) -> dict[tuple[str, int], int]:
        """Return the messages to be handled of each bus and hour, over all topics."""
        rows = self._db.execute(HANDLED_BY_HOUR, (first, end))
        return {(bus, hour): messages for bus, hour, messages in rows}

    def reached(self, first: int, end: int) -> Iterator[ReachedSum]:
        """Yield what reached listener and worker in closed windows that began in these hours."""
        span = first * 3_600_000, end * 3_600_000
        for bus, stage, hour, messages, without_data in self._db.execute(REACHED, span):
            yield ReachedSum(bus, stage, hour, None if without_data else messages)

    def newest(self, bus: str, topic: str, limit: int) -> list[TopicMessage]:
        """Return the newest messages of a topic, the newest first."""
        return self._newest(self._series(bus, topic).keys(), limit)

    def handled(self, bus: str, topic: str, limit: int) -> list[TopicMessage]:
        """Return the newest messages to be handled that busmon received, the newest first."""
        series = self._series(bus, topic).items()
        return self._newest([n for n, of in series if of[0] == "handled" and not of[2]], limit)

    def _newest(self, series: Collection[int], limit: int) -> list[TopicMessage]:
        found = SeriesParts(self._db).newest(series, limit)
        rows = self._db.execute(MESSAGES.format(numbers=places(found)), found)
        return [_message(*row) for row in rows]

    def _series(self, bus: str, topic: str) -> dict[int, tuple[str, str, int]]:
        """Return the numbers of the series of a topic, some ten, with all but their counts."""
        return {number: tuple(of) for number, *of in self._db.execute(SERIES, (bus, topic))}


def _message(*row: Any) -> TopicMessage:
    identity, outcome, reason, filled, received, sent, report, task, *times = row
    known = outcome, reason, bool(filled), received / 1000, seconds(sent), report, task
    return TopicMessage(shown_id(identity), *known, *map(seconds, times))
