"""Learns hourly counts from the archive: what is usual is known without weeks of waiting.

What is learned is in the ledger after each answer, so a restart goes on.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping

from prometheus_client.core import Metric

from busmon.archive.client import MAX_ROWS, Datagrepper, Found, TooMuch, Unanswered
from busmon.archive.learn_plan import HOUR_SECONDS, Step, done, next_size, next_step, sums
from busmon.ledger.archive import Span
from busmon.ledger.hourly import HOURS_KEPT
from busmon.ledger.ledger import Ledger
from busmon.metrics.families import gauge
from busmon.silence.rates import WEEK_HOURS

WEEKS = 8

log = logging.getLogger(__name__)


class Learner:
    """Learns the topics of one bus, of so many weeks before its first start.

    `topics` returns their names. `on_progress` is called when another week is known of all of
    them. Any thread may read how far it is.
    """

    def __init__(
        self,
        archive: Datagrepper,
        ledger: Ledger,
        bus: str,
        topics: Callable[[], Collection[str]],
        on_progress: Callable[[], None] = lambda: None,
        weeks: int = WEEKS,
    ) -> None:
        self.bus = bus
        self._archive = archive
        self._ledger = ledger
        self._topics = topics
        self._on_progress = on_progress
        self._hours = weeks * WEEK_HOURS
        self._known: dict[str, Span] = {}
        self._end: int | None = None  # the hour before which it learns; None: not known yet
        self._sizes: dict[str, int] = {}  # hours to ask for at once
        self._failures_of: dict[str, int] = {}  # in a row, by topic
        self._weeks = 0  # known of all topics, at the last call of on_progress

    def step(self, now: float) -> bool:
        """See Job."""
        if self._end is None:
            self._begin(now)
        elif step := self._next(now):
            self._learn(step)
        else:
            return False
        return True

    def progress(self) -> tuple[int, int]:
        """Return how many hours of all topics are known, and of how many there are."""
        end = self._end or 0
        return done(self._topics(), self._known, Span(end - self._hours, end))

    def finished(self) -> bool:
        """Return whether all hours of all topics are known."""
        known, hours = self.progress()
        return self._end is not None and known == hours

    def collect(self) -> Iterator[Metric]:
        """Yield how far it is."""
        known, hours = self.progress()
        yield gauge(
            "busmon_archive_learned_ratio",
            "How much of the history in the archive is learned; 1: all of it.",
            ["bus"],
            [((self.bus,), known / hours if hours else 0.0)],
        )

    def _begin(self, now: float) -> None:
        """Find the hour before which to learn: that of an earlier run, or the last full one."""
        with self._ledger.read() as tables:
            spans = tables.archive_sums.spans()
        known = {topic: span for (bus, topic), span in spans.items() if bus == self.bus}
        if known:
            self._known, self._end = known, max(span.until for span in known.values())
            return
        self._end = int(self._archive.ask_settled(now) // HOUR_SECONDS)

    def _next(self, now: float) -> Step | None:
        end = self._end or 0
        oldest = int(now // HOUR_SECONDS) - HOURS_KEPT
        target = Span(max(end - self._hours, oldest), end)
        return next_step(self._topics(), self._known, target, self._sizes, self._failures_of)

    def _learn(self, step: Step) -> None:
        counts = self._counts(step)
        self._failures_of.pop(step.topic, None)
        if counts is None:
            return
        with self._ledger.write() as tables:
            tables.archive_sums.add_before(self.bus, step.topic, step.hours, counts)
        until = self._known[step.topic].until if step.topic in self._known else step.hours.until
        self._known = {**self._known, step.topic: Span(step.hours.since, until)}
        self._report()

    def _counts(self, step: Step) -> Mapping[int, int] | None:
        """Return the messages of each hour; None if the answer does not have them all."""
        hours = step.hours.until - step.hours.since
        self._sizes[step.topic] = max(1, hours // 2)  # unless it answers
        try:
            found = self._ask(step)
        except TooMuch:
            # A single message that is longer than an answer may be: it must not hold up the rest.
            return {step.hours.since: 1} if hours == 1 else None
        except Unanswered:
            self._failures_of[step.topic] = self._failures_of.get(step.topic, 0) + 1
            raise
        self._sizes[step.topic] = next_size(step, found)
        return sums(step, found)

    def _ask(self, step: Step) -> Found:
        first, end = (hour * HOUR_SECONDS for hour in step.hours)
        # Of a single hour only the number is needed.
        rows = 1 if end - first == HOUR_SECONDS else MAX_ROWS
        return self._archive.search([step.topic], first, end, rows)

    def _report(self) -> None:
        topics = [topic for topic in self._topics() if topic not in self._failures_of]
        since = [self._known[topic].since for topic in topics if topic in self._known]
        if not since or len(since) < len(topics):
            return
        weeks = ((self._end or 0) - max(since)) // WEEK_HOURS
        if weeks > self._weeks:
            self._weeks = weeks
            log.info("archive: %d weeks are learned of %d topics", weeks, len(topics))
            self._on_progress()
