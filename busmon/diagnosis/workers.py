"""Facts of the workers, from their events and their queues."""

from collections.abc import Iterator, Mapping, Sequence

from busmon.diagnosis.facts import FailingTask, Queue, StageCounts, WorkerFacts
from busmon.diagnosis.history import History
from busmon.diagnosis.listener import ObserverWatch
from busmon.observers.celery import CeleryObserver

# Of three such spans: a queue grows if its minimum in the third exceeds its maximum in the first.
GROWTH_SECONDS = 200.0
IDLE_SECONDS = 1200.0  # if tasks wait in a queue, some worker takes one in this time
RECENT_SECONDS = 1800.0  # of failed and succeeded tasks
SAMPLE_SECONDS = 60.0  # from one copy of the numbers of all names to the next

Ended = Mapping[str, tuple[int, int]]  # failed and succeeded tasks, by name


class WorkersWatch:
    """The workers of one bus: what happened recently to their tasks and queues."""

    def __init__(self, celery: CeleryObserver, started: float) -> None:
        self._celery = celery
        self._health = ObserverWatch(celery, started)
        self._ended = History[Ended](RECENT_SECONDS)
        self._next_sample = 0.0
        self._lengths: dict[str, History[int | None]] = {}  # None while it is not known

    def facts(
        self, now: float, finished: StageCounts | None, handled: StageCounts | None
    ) -> WorkerFacts:
        """Return the facts of the workers."""
        counts = self._celery.events()
        return WorkerFacts(
            celery=self._health.at(now),
            finished=finished,
            handled=handled,
            queues=tuple(self._queues(now)),
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

    def _queues(self, now: float) -> Iterator[Queue]:
        """Yield the queues whose length is known, each judged by itself."""
        known = self._celery.lengths()
        for name in sorted(known.keys() | self._lengths.keys()):
            lengths = self._lengths.setdefault(name, History(IDLE_SECONDS))
            length = known.get(name)
            lengths.add(now, length)
            if length is not None:
                recent = _known(lengths.between(now - IDLE_SECONDS, now))
                stuck = IDLE_SECONDS if _never_fell(recent) else 0.0
                yield Queue(name, length, _grown(lengths, now), stuck)


def _never_fell(lengths: Sequence[int]) -> bool:
    """Return whether tasks waited all the time, and no worker was seen to take one."""
    return bool(lengths) and lengths[0] > 0 and list(lengths) == sorted(lengths)


def _grown(lengths: History[int | None], now: float) -> int:
    first = _known(lengths.between(now - 3 * GROWTH_SECONDS, now - 2 * GROWTH_SECONDS))
    third = _known(lengths.between(now - GROWTH_SECONDS, now))
    return min(third) - max(first) if first and third else 0


def _known(lengths: Sequence[int | None] | None) -> list[int]:
    """Return the lengths if all of them are known, else none."""
    known = [length for length in lengths or () if length is not None]
    return known if len(known) == len(lengths or ()) else []
