"""The observers that there are: a new one is a file, and a line in `ObservedAudit`."""

from busmon.audit.scope import Observed
from busmon.observers.base import ObserverSettings
from busmon.observers.celery import CelerySettings
from busmon.observers.ready import ReadySettings
from busmon.observers.tap import TapSettings
from busmon.settings.audit import Audit


class ObservedAudit(Audit):
    """`[audit]`: the settings of the audit, and a table for each observer."""

    reports: TapSettings | None = None
    ready: ReadySettings | None = None
    celery: CelerySettings | None = None

    def observers(self) -> dict[str, ObserverSettings]:
        """Return those that are configured, by the name of their table."""
        return {name: value for name, value in self if isinstance(value, ObserverSettings)}

    def observed(self, comparable: str | None = None) -> Observed:
        """Return what the audit has to know of them.

        `comparable` is the bus whose listener counts just the messages that busmon receives.
        """
        return Observed(
            tap=self.reports.bus if self.reports else None,
            celery=self.celery.bus if self.celery else None,
            ready=comparable,
            ready_interval=self.ready.interval if self.ready else 0,
        )
