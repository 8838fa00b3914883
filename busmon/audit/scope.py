"""What can be audited of a bus: its stages, and the observer that watches each of them."""

from collections.abc import Mapping
from typing import NamedTuple

from busmon.ledger.coverage import observer_id
from busmon.message import Stage


class Scope(NamedTuple):
    """What is audited of one bus."""

    observers: Mapping[Stage, str]  # the id of an observer, by the stage behind the bus
    exact: bool = True  # whether messages are matched by id; else numbers are compared

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The audited stages, in the order in which a message reaches them."""
        return (Stage.BUS, *self.observers)

    def matches_ids(self, stage: Stage) -> bool:
        """Return whether messages are matched by id at a stage, and not only by number."""
        return self.exact or stage is Stage.BUS


class Observed(NamedTuple):
    """Which bus each observer watches, if any."""

    tap: str | None = None
    celery: str | None = None
    ready: str | None = None  # only if the listener counts the same messages that busmon receives
    ready_interval: float = 0.0  # seconds between two answers of the listener's monitor

    def scope(self, bus: str) -> Scope:
        """Return what can be audited of a bus.

        With a tap each message is matched by its id. Without one only numbers can be compared.
        """
        if bus == self.tap == self.celery:
            return Scope(
                {Stage.LISTENER: observer_id("tap", bus), Stage.WORKER: observer_id("celery", bus)}
            )
        if bus == self.tap:
            return Scope({Stage.LISTENER: observer_id("tap", bus)})
        # Celery's tasks alone do not show of which messages they were made, if of any.
        if bus == self.ready:
            return Scope({Stage.LISTENER: observer_id("ready", bus)}, exact=False)
        return Scope({})
