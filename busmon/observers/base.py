"""What observes the listener and its workers. Each observer is optional."""

import threading
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from prometheus_client.core import Metric

from busmon.ledger.ledger import Ledger
from busmon.metrics.families import gauge
from busmon.settings.section import Section


class ObserverSettings(Section):
    """`[audit.NAME]`: what every observer's settings have."""

    bus: str

    @abstractmethod
    def make_observer(self, ledger: Ledger) -> "Observer":
        """Return the observer; raises LedgerError and LedgerWriteError."""

    @abstractmethod
    def describe(self) -> str:
        """Return what `busmon check-config` shows of it."""


class Observer(Protocol):
    """Observes the listener or the workers of one bus, in a thread of its own."""

    kind: str  # "tap", "ready", "celery", "queue" or "archive"
    bus: str

    def run(self, stopping: threading.Event) -> None:
        """Observe until `stopping`, and return within a second. Log a failure once and retry."""

    def up(self) -> bool:
        """Return whether it receives data now; from memory, as is all below."""

    def problem(self) -> str | None:
        """Return why it does not receive data, or None if it does."""

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics of its own, the same families at any time."""


class ObserverMetrics:
    """A collector over all observers, at most one of each kind and bus."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def collect(self) -> Iterator[Metric]:
        """Yield whether each observer is up, and its own metrics."""
        yield gauge(
            "busmon_observer_up",
            "1 while the observer receives data, else 0: then there is no data from it.",
            ["observer", "bus"],
            [((observer.kind, observer.bus), observer.up()) for observer in self._observers],
        )
        for observer in self._observers:
            yield from observer.collect()
