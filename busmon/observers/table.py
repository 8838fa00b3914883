"""The observers that there are: a new one is a file, and a line in `ObservedAudit`."""

from collections.abc import Mapping

from busmon.audit.scope import Observed
from busmon.ledger.ledger import Ledger
from busmon.observers.base import Observer, ObserverSettings
from busmon.observers.celery import CelerySettings
from busmon.observers.queue import QueueSettings
from busmon.observers.ready import ReadySettings
from busmon.observers.tap import TapSettings
from busmon.settings.audit import Audit
from busmon.settings.section import Row
from busmon.sources.bus import Bus
from busmon.sources.listener_queue import ListenerQueue


class ObservedAudit(Audit):
    """`[audit]`: the settings of the audit, and a table for each observer."""

    reports: TapSettings | None = None
    ready: ReadySettings | None = None
    celery: CelerySettings | None = None
    queue: QueueSettings = QueueSettings()  # the only one that needs no table

    def observers(self) -> dict[str, ObserverSettings]:
        """Return those that are configured, each for one bus, by the name of their table."""
        return {name: value for name, value in self if isinstance(value, ObserverSettings)}

    def make_observers(self, buses: Mapping[str, Bus], ledger: Ledger) -> list[Observer]:
        """Return all observers; raises LedgerError and LedgerWriteError."""
        configured = [settings.make_observer(ledger) for settings in self.observers().values()]
        return [*configured, *self.queue.make_observers(buses, ledger)]

    def describe(self, buses: Mapping[str, Bus]) -> list[Row]:
        """Return what `busmon check-config` shows of the observers."""
        rows = [(name, settings.describe()) for name, settings in self.observers().items()]
        queues = self.queue.describe(buses)
        return [*rows, ("queue", queues)] if queues else rows

    def observed(self, buses: Mapping[str, Bus]) -> Observed:
        """Return what the audit has to know of them."""
        queues = {name: bus.listener_queue() for name, bus in buses.items()}
        return Observed(
            tap=self.reports.bus if self.reports else None,
            celery=self.celery.bus if self.celery else None,
            temporary=frozenset(n for n, q in queues.items() if q is ListenerQueue.TEMPORARY),
            queues=frozenset(self.queue.watched(buses)),
        )
