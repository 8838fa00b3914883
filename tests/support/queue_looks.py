"""An observer of the listener's queue that looks at made-up times, at a made-up broker."""

import threading

from busmon.ledger.ledger import Ledger
from busmon.observers.queue import QueueObserver
from busmon.sources.base import Cause, Disconnected
from busmon.sources.listener_queue import QueueState
from busmon.sources.session import Stopped

GONE, HELD = QueueState(there=False), QueueState(held=True)
QUEUE = "its-queue"

Look = tuple[float, QueueState | None]  # when, as a Unix time, and how the queue is then


class Looks:
    """Looks as often as there are times; None: the broker does not answer."""

    def __init__(self, ledger: Ledger, bus: str = "fedora") -> None:
        self.observer = QueueObserver(bus, self._ask, ledger, 0, self._next)
        self._stopping = threading.Event()
        self._looks: list[Look] = []
        self._state: QueueState | None = None

    def at(self, *looks: Look) -> QueueObserver:
        """Look at these times."""
        self._looks = list(looks)
        self._stopping.clear()
        self.observer.run(self._stopping)
        return self.observer

    def _next(self) -> float:
        if not self._looks:
            raise Stopped
        now, self._state = self._looks.pop(0)
        return now

    def _ask(self, *_: object) -> dict[str, QueueState]:
        if self._state is None:
            raise Disconnected(Cause.NETWORK, "refused")
        return {QUEUE: self._state}
