"""The hourly counts of each topic, as far back as its baseline needs them.

Most topics need 13 weeks before their last message. One that stopped, or is rare, needs more; so
the weeks are read from the newest to the oldest, and only while some topic needs them.
"""

from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence

from busmon.ledger.hourly import HOURS_KEPT
from busmon.ledger.ledger import Ledger
from busmon.ledger.tables import Tables
from busmon.message import Topic
from busmon.silence.archived import ArchivedHours
from busmon.silence.baseline import too_few
from busmon.silence.rates import LEARNED_HOURS, WEEK_HOURS, Hour


class Counts:
    """The messages of the hours that have any, oldest first."""

    def __init__(self, watched: Mapping[int, float] | None = None) -> None:
        self._hours, self._messages = array("I"), array("I")
        self._watched = watched or {}  # the fraction of hours, where blind times do not say it

    def add_before(self, hours: Mapping[int, int]) -> None:
        """Add hours that are before all others."""
        known = sorted(hours)
        self._hours = array("I", known) + self._hours
        self._messages = array("I", [hours[hour] for hour in known]) + self._messages

    def suffice(self, first: int, last: int) -> bool:
        """Return whether nothing before the hour `first` is needed."""
        start = last - LEARNED_HOURS
        hours = zip(self._hours, self._messages, strict=True)
        return first <= start and not too_few(hour for hour in hours if hour[0] > start)

    def until(self, now: float, blind: Mapping[int, float], since: int = 0) -> Iterator[Hour]:
        """Yield every hour from the first message on, after the hour `since`, until now.

        `blind` are the seconds of hours in which busmon was blind. The current hour is not over.
        """
        known = dict(zip(self._hours, self._messages, strict=True))
        current = int(now // 3600)
        for hour in range(max(since + 1, self._hours[0]), current + 1) if known else ():
            seconds = now - 3600 * current if hour == current else 3600.0
            watched = max(0.0, seconds - blind.get(hour, 0.0)) / 3600
            yield Hour(hour, known.get(hour, 0), self._watched.get(hour, watched))


def read(
    ledger: Ledger,
    last: Mapping[Topic, float],
    now: float,
    blind: Mapping[str, Mapping[int, float]],
) -> dict[Topic, Counts]:
    """Return the counts of topics, of each of which the newest message is known.

    `blind` are the seconds of hours in which busmon was blind, by bus. What an archive has of
    hours that busmon did not watch is included.
    """
    end = int(now // 3600) + 1
    with ledger.read() as tables:
        archived = ArchivedHours(tables, blind, now)
        counts = {topic: Counts(archived.watched(topic)) for topic in last}
        needed: Collection[Topic] = set(counts)
        of_topic = tables.hourly_sums.numbers()
        for first in range(end - WEEK_HOURS, end - HOURS_KEPT, -WEEK_HOURS):
            numbers = [number for topic in needed for number in of_topic.get(topic, ())]
            week = _counted(tables, first, numbers) if numbers else {}
            _add_archived(week, tables, first, archived)
            for topic in week.keys() & needed:
                counts[topic].add_before(week[topic])
            needed = {
                topic
                for topic in needed
                if not counts[topic].suffice(first, int(last[topic] // 3600))
            }
            if not needed:
                break
    return counts


Week = dict[Topic, dict[int, int]]  # the messages of the hours that have any


def _counted(tables: Tables, first: int, numbers: Sequence[int]) -> Week:
    """Return what busmon counted in a week."""
    week: Week = {}
    end = first + WEEK_HOURS
    for bus, name, hour, messages in tables.hourly_sums.between(first, end, numbers):
        week.setdefault(Topic(bus, name), {})[hour] = messages
    return week


def _add_archived(week: Week, tables: Tables, first: int, archived: ArchivedHours) -> None:
    """Add what an archive has of the same week, in hours that busmon did not watch."""
    for bus, name, hour, messages in tables.archive_sums.between(first, first + WEEK_HOURS):
        topic = Topic(bus, name)
        if archived.replaces(topic, hour):
            hours = week.setdefault(topic, {})
            hours[hour] = max(messages, hours.get(hour, 0))
