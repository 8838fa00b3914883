"""What can be audited of a bus: its stages, and the observer that watches each of them."""

from collections.abc import Mapping
from typing import NamedTuple

from busmon.ledger.coverage import observer_id
from busmon.message import Stage


class Scope(NamedTuple):
    """What is audited of one bus."""

    observers: Mapping[Stage, str]  # the id of an observer, by the stage behind the bus

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The audited stages, in the order in which a message reaches them."""
        return (Stage.BUS, *self.observers)

    def after(self, stage: Stage) -> Stage | None:
        """Return the audited stage that a message reaches next, None if there is none."""
        stages = self.stages
        following = stages[stages.index(stage) + 1 :] if stage in stages else ()
        return next(iter(following), None)


class Observed(NamedTuple):
    """Which bus each observer watches, if any."""

    tap: str | None = None
    celery: str | None = None

    def scope(self, bus: str) -> Scope:
        """Return what can be audited of a bus: behind it, only what the tap reports on."""
        if bus == self.tap == self.celery:
            return Scope(
                {Stage.LISTENER: observer_id("tap", bus), Stage.WORKER: observer_id("celery", bus)}
            )
        if bus == self.tap:
            return Scope({Stage.LISTENER: observer_id("tap", bus)})
        # Celery's tasks alone do not show of which messages they were made, if of any.
        return Scope({})
