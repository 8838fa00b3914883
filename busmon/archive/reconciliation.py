"""Compares the last whole day of each topic with the archive, once, by when messages were sent.

What only the archive has, busmon has lost. What only busmon has proves nothing: the archive does
not store everything. Counts are compared first. Where they differ, the time is halved until an
answer has all messages of a part, and then their ids are compared.
"""

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from prometheus_client.core import Metric

from busmon.archive.backlog import has_caught_up
from busmon.archive.client import MAX_ROWS, Datagrepper, Found, TooMuch, Unanswered
from busmon.ledger.differences import IDS_KEPT, Difference
from busmon.ledger.filled import FillState
from busmon.ledger.ledger import Ledger
from busmon.ledger.values import Interval
from busmon.metrics.families import gauge

DAY_SECONDS = 86400
SETTLED_SECONDS = 3600  # after the end of a day
MAX_REQUESTS = 60  # for a topic
MAX_FAILURES = 3  # of a topic; then it is not compared on that day
MAX_COMPARED = 1000  # messages of busmon's in a part of which the ids are compared


@dataclass(slots=True)
class _Topic:
    """A topic that is being compared."""

    topic: str
    day: int
    sent: "array[int]"  # when each of our messages was sent, in ms
    numbers: "array[int]"  # and its number
    open: list[Interval]  # parts of the day that are still to be compared, in whole seconds
    requests: int = 0
    archive: int | None = None  # messages; None: not known yet
    rows: int = MAX_ROWS  # to ask for
    whole: bool = True  # the ids of all that differs were compared
    only_ours: int = 0
    only_archive: int = 0
    our_ids: list[str] = field(default_factory=list)
    archive_ids: list[str] = field(default_factory=list)

    def ours(self, part: Interval) -> "array[int]":
        """Return the numbers of our messages of this time."""
        first, end = (bisect_left(self.sent, round(at * 1000)) for at in part)
        return self.numbers[first:end]

    def halve(self, part: Interval) -> None:
        """Compare the halves of a part later, unless it is a single second."""
        middle = (part.since + part.until) // 2
        if middle > part.since:
            self.open += [Interval(middle, part.until), Interval(part.since, middle)]
        else:
            self.whole = False

    def result(self, bus: str) -> Difference:
        """Return what was found; of parts that were not compared, what the counts say."""
        ours, archive = len(self.sent), self.archive or 0
        only_ours, only_archive = self.only_ours, self.only_archive
        if self.open or not self.whole:
            rest = (ours - archive) - (only_ours - only_archive)
            only_ours, only_archive = only_ours + max(0, rest), only_archive + max(0, -rest)
        ids = tuple(self.our_ids[:IDS_KEPT]), tuple(self.archive_ids[:IDS_KEPT])
        return Difference(bus, self.topic, self.day, ours, archive, only_ours, only_archive, *ids)


class Reconciliation:
    """Compares the topics of one bus. Any thread may read what it found."""

    def __init__(
        self,
        bus: str,
        archive: Datagrepper,
        ledger: Ledger,
        topics: Callable[[], Collection[str]],
    ) -> None:
        self._bus = bus
        self._archive = archive
        self._ledger = ledger
        self._topics = topics
        self._done: int | None = None  # the last day of which all is compared that can be
        self._topic: _Topic | None = None  # the one in hand
        self._failures = Counter[str]()  # of topics, on this day
        with ledger.read() as tables:
            found = [one for one in tables.differences.all() if one.bus == bus]
        self._found = {one.topic: one for one in found}

    def found(self) -> list[Difference]:
        """Return the last comparison of each topic, by its name, from memory."""
        found = self._found
        return [found[topic] for topic in sorted(found)]

    def step(self, now: float) -> bool:
        """See Job."""
        day = int(now - SETTLED_SECONDS) // DAY_SECONDS - 1
        if self._topic is None or self._topic.day != day:
            self._topic = self._next(day, now)
        if self._topic is None:
            return False
        settled = self._archive.settled(now)
        asked = settled is None
        if settled is None:
            settled = self._archive.ask_settled(now)
        if settled < (day + 1) * DAY_SECONDS:
            raise Unanswered("does not have the whole last day yet")
        if asked:
            return True
        try:
            self._compare(self._topic)
        except Unanswered:
            self._failures[self._topic.topic] += 1
            self._topic = None
            raise
        if not self._topic.open or self._topic.requests >= MAX_REQUESTS:
            self._save(self._topic.result(self._bus))
            self._topic = None
        return True

    def collect(self) -> Iterator[Metric]:
        """Yield what was found."""
        yield gauge(
            "busmon_archive_difference_messages",
            "Messages of the last day that was compared which only one side has: the archive,"
            " or we (ours). What only we have proves nothing.",
            ["bus", "topic", "side"],
            [
                ((self._bus, one.topic, side), messages)
                for one in self.found()
                for side, messages in (("archive", one.only_archive), ("ours", one.only_ours))
            ],
        )

    def _next(self, day: int, now: float) -> _Topic | None:
        """Return a topic that is to be compared; None if none is, or the day is not on record.

        None also while messages of that day still come from a queue, or are filled in.
        """
        if day == self._done:
            return None
        since, until = day * DAY_SECONDS, (day + 1) * DAY_SECONDS
        left = [topic for topic in self._topics() if self._is_left(topic, day)]
        left.sort(key=lambda topic: self._failures[topic])  # others come before those that failed
        with self._ledger.read() as tables:
            first = tables.hourly_sums.first(self._bus)
            begin = tables.differences.begin()
            known = begin is not None and first is not None and max(first * 3600, begin) <= since
            if not left or not known:
                self._done, self._failures = day, Counter()
                return None
            waiting = any(
                one.state is FillState.WAITING and one.since < until and one.until > since
                for one in tables.filled.fills(self._bus)
            )
            if waiting or not has_caught_up(tables, self._bus, now):
                return None
            sent, numbers = array("q"), array("q")
            for at, number in tables.differences.sent(self._bus, left[0], since, until):
                sent.append(at)
                numbers.append(number)
        return _Topic(left[0], day, sent, numbers, [Interval(since, until)])

    def _is_left(self, topic: str, day: int) -> bool:
        compared = topic in self._found and self._found[topic].day >= day
        return not compared and self._failures[topic] < MAX_FAILURES

    def _compare(self, topic: _Topic) -> None:
        """Send one request: compare the first part of a topic that is open."""
        part = topic.open[-1]
        ours = topic.ours(part)
        # The bodies of a hundred messages are much to send, only to count them.
        rows = topic.rows if len(ours) <= MAX_ROWS else 1
        topic.requests += 1
        try:
            found = self._archive.search([topic.topic], int(part.since), int(part.until), rows)
        except TooMuch:
            if rows == 1:
                raise
            topic.rows = rows // 2
            return
        topic.open.pop()
        if topic.archive is None:
            topic.archive = found.total
        if len(found.messages) == found.total:
            self._compare_ids(topic, found, ours)
        elif found.total != len(ours):
            topic.halve(part)

    def _compare_ids(self, topic: _Topic, found: Found, ours: Sequence[int]) -> None:
        ids = {message.id for message in found.messages}
        with self._ledger.read() as tables:
            lacking = ids - tables.messages.known(self._bus, ids)
            known = tables.differences.ids(list(ours[:MAX_COMPARED]))
        topic.only_archive += len(lacking)
        topic.archive_ids += sorted(lacking)
        only_ours = sorted({*known} - ids)
        topic.only_ours += len(only_ours) + max(0, len(ours) - MAX_COMPARED)
        topic.our_ids += only_ours

    def _save(self, found: Difference) -> None:
        with self._ledger.write() as tables:
            tables.differences.save(found)
        self._found = {**self._found, found.topic: found}
