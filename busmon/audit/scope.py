"""What can be audited of a bus: its stages, and the observer that watches each of them."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from busmon.audit.absences import AbsenceSource
from busmon.ledger.coverage import ObserverCoverage, observer_id
from busmon.message import Stage


class Scope(NamedTuple):
    """What is audited of one bus."""

    observers: Mapping[Stage, str]  # the id of an observer, by the stage behind the bus
    absences: AbsenceSource | None = None  # None: what comes during one is not lost, or not known

    @property
    def gap_stages(self) -> tuple[Stage, ...]:
        """The stages at which a message can be missing, also if only absences are known there."""
        only_absences = self.absences is AbsenceSource.QUEUE
        return (Stage.LISTENER,) if only_absences else tuple(self.observers)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The audited stages, in the order in which a message reaches them."""
        return (Stage.BUS, *self.observers)

    def after(self, stage: Stage) -> Stage | None:
        """Return the audited stage that a message reaches next, None if there is none."""
        stages = self.stages
        following = stages[stages.index(stage) + 1 :] if stage in stages else ()
        return next(iter(following), None)

    def covered(self, coverage: ObserverCoverage, start: float, end: float) -> Iterator[Stage]:
        """Yield the stages behind the bus that were watched all the time.

        Up to the first one that was not. Times are Unix times.
        """
        for stage, observer in self.observers.items():
            if not coverage.is_covered(observer, start, end):
                return
            yield stage


Scopes = Mapping[str, Scope]  # by bus


class Observed(NamedTuple):
    """Which bus each observer watches, if any."""

    tap: str | None = None
    celery: str | None = None
    temporary: frozenset[str] = frozenset()  # the listener's queue is deleted with its connection
    queues: frozenset[str] = frozenset()  # that queue is looked at

    def scope(self, bus: str) -> Scope:
        """Return what can be audited of a bus: behind it, only what the tap reports on.

        Without a tap, only the messages that came while the listener was absent are known.
        """
        # Celery's tasks alone do not show of which messages they were made, if of any.
        if bus != self.tap:
            lost = bus in self.temporary & self.queues
            return Scope({}, AbsenceSource.QUEUE if lost else None)
        observers = {Stage.LISTENER: observer_id("tap", bus)}
        if bus == self.celery:
            observers |= dict.fromkeys((Stage.WORKER, Stage.HANDLERS), observer_id("celery", bus))
        return Scope(observers, AbsenceSource.TAP if bus in self.temporary else None)
