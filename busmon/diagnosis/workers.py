"""Facts of the workers, from their events and their queues."""

from collections.abc import Iterator, Mapping

from busmon.diagnosis.facts import FailingTask, Queue, StageCounts, WorkerFacts
from busmon.diagnosis.history import History
from busmon.diagnosis.listener import ObserverWatch
from busmon.observers.celery import CeleryObserver

# Of three such spans: a queue grows if its minimum in the third exceeds its maximum in the first.
GROWTH_SECONDS = 200.0
IDLE_SECONDS = 1200.0  # if tasks wait, some worker does one in this time
RECENT_SECONDS = 1800.0  # of failed and succeeded tasks
SAMPLE_SECONDS = 60.0  # from one copy of the numbers of all names to the next

Ended = Mapping[str, tuple[int, int]]  # failed and succeeded tasks, by name


class WorkersWatch:
    """The workers of one bus: what happened recently to their tasks and queues."""

    def __init__(self, celery: CeleryObserver, started: float) -> None:
        self._celery = celery
        self._health = ObserverWatch(celery, started)
        self._events = History[tuple[bool, int]](RECENT_SECONDS)
        self._ended = History[Ended](RECENT_SECONDS)
        self._next_sample = 0.0
        self._lengths: dict[str, History[int]] = {}

    def facts(self, now: float, finished: StageCounts | None) -> WorkerFacts:
        """Return the facts of the workers."""
        counts = self._celery.events()
        state = self._celery.up(), sum(n for (event, _), n in counts.items() if event != "sent")
        self._events.add(now, state)
        idle = state[0] and self._events.between(now - IDLE_SECONDS, now) == [state]
        return WorkerFacts(
            celery=self._health.at(now),
            finished=finished,
            queues=tuple(self._queues(now, idle)),
            failing=tuple(self._failing(now, counts)),
        )

    def _failing(self, now: float, counts: Mapping[tuple[str, str], int]) -> Iterator[FailingTask]:
        """Yield the tasks of which more have recently failed than succeeded."""
        ended = {
            name: (failed, counts["succeeded", name])
            for (event, name), failed in counts.items()
            if event == "failed"
        }
        if not self._next_sample - SAMPLE_SECONDS <= now < self._next_sample:
            self._next_sample = now + SAMPLE_SECONDS
            self._ended.add(now, ended)
        before = self._ended.oldest() or {}
        for name, (failed, succeeded) in ended.items():
            failed_before, succeeded_before = before.get(name, (0, 0))
            recent = FailingTask(name, failed - failed_before, succeeded - succeeded_before)
            if recent.failed > recent.succeeded:
                yield recent

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
