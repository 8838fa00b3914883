"""What watches the listener and its workers. Each is optional, and none may disturb counting."""

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from prometheus_client.core import Metric

from busmon.metrics.families import gauge

log = logging.getLogger(__name__)


class Observer(Protocol):
    """Watches the listener or the workers of one bus, in a thread of its own."""

    kind: str  # "tap", "ready" or "celery"
    bus: str

    def run(self) -> None:
        """Watch until stopped; what fails is logged once and tried again."""

    def stop(self) -> None:
        """Let `run` return within a second; may be called from any thread."""

    def up(self) -> bool:
        """Tell whether it sees just now. A short answer from memory, as is `collect`."""

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics of its own, the same families at any time."""


class Observers:
    """The threads and the metrics of all observers, at most one of each kind and bus."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers
        self._dead: set[tuple[str, str]] = set()

    def threads(self) -> list[threading.Thread]:
        """Return a thread for each, yet to be started."""
        return [
            threading.Thread(
                target=self._run,
                args=(observer,),
                name=f"{observer.kind}:{observer.bus}",
                daemon=True,
            )
            for observer in self._observers
        ]

    def stop(self) -> None:
        """Let all threads come to their end."""
        for observer in self._observers:
            observer.stop()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of all: a collector for the registry."""
        yield gauge(
            "busmon_observer_up",
            "1 while the observer sees what it watches, else 0: then there is no data of it.",
            ["observer", "bus"],
            [
                ((observer.kind, observer.bus), observer.up() and not self._died(observer))
                for observer in self._observers
            ],
        )
        for observer in self._observers:
            yield from observer.collect()

    def _run(self, observer: Observer) -> None:
        try:
            observer.run()
        except Exception:
            # Counting goes on; the metric tells that this observer does not.
            log.exception(
                "%s:%s: unexpected error, observes no longer", observer.kind, observer.bus
            )
            self._dead.add((observer.kind, observer.bus))

    def _died(self, observer: Observer) -> bool:
        return (observer.kind, observer.bus) in self._dead
