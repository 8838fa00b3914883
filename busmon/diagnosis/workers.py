"""Facts of the workers, from their events and their queues."""

from collections import Counter
from collections.abc import Iterator

from busmon.diagnosis.facts import Queue, StageCounts, WorkerFacts
from busmon.diagnosis.history import History
from busmon.diagnosis.listener import ObserverWatch
from busmon.observers.celery import CeleryObserver

# Of three such spans: a queue grows if its minimum in the third exceeds its maximum in the first.
GROWTH_SECONDS = 200.0
IDLE_SECONDS = 1200.0  # if tasks wait, some worker does one in this time
RECENT_SECONDS = 1800.0  # of failed and succeeded tasks


class WorkersWatch:
    """The workers of one bus: what happened recently to their tasks and queues."""

    def __init__(self, celery: CeleryObserver, started: float) -> None:
        self._celery = celery
        self._health = ObserverWatch(celery, started)
        self._events = History[tuple[bool, Counter[str]]](RECENT_SECONDS)
        self._lengths: dict[str, History[int]] = {}

    def facts(self, now: float, finished: StageCounts | None) -> WorkerFacts:
        """Return the facts of the workers."""
        state = self._celery.up(), self._celery.events()
        self._events.add(now, state)
        before = self._events.oldest() or state
        recent = state[1] - before[1]
        idle = state[0] and self._events.between(now - IDLE_SECONDS, now) == [state]
        return WorkerFacts(
            celery=self._health.at(now),
            finished=finished,
            queues=tuple(self._queues(now, idle)),
            failed=recent["failed"],
            succeeded=recent["succeeded"],
        )

    def _queues(self, now: float, idle: bool) -> Iterator[Queue]:
        """Yield the queues; `idle` is whether no worker did any task for IDLE_SECONDS."""
        for name, length in self._celery.lengths().items():
            lengths = self._lengths.setdefault(name, History(IDLE_SECONDS))
            lengths.add(now, length)
            waiting = min(lengths.between(now - IDLE_SECONDS, now) or [0])
            first = lengths.between(now - 3 * GROWTH_SECONDS, now - 2 * GROWTH_SECONDS)
            third = lengths.between(now - GROWTH_SECONDS, now)
            grown = min(third) - max(first) if first and third else 0
            yield Queue(name, length, grown, IDLE_SECONDS if idle and waiting else 0.0)
