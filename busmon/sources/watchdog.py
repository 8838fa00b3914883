"""Watches whether the thread of each source is at work, or held up by a message or a batch."""

import logging
import threading
from collections.abc import Mapping

from busmon.sources.base import HUNG_SECONDS, Cause, ConnectionState
from busmon.threads import stack

WATCH_SECONDS = 0.5  # between two looks

log = logging.getLogger(__name__)


class Watchdog:
    """Counts a source that hangs as disconnected, and logs where its thread is.

    Python cannot end a thread. So it goes on hanging; the other buses are not concerned.
    """

    def __init__(self, connections: Mapping[str, ConnectionState]) -> None:
        self._connections = connections
        self._hung: set[str] = set()

    def run(self, stopping: threading.Event) -> None:
        """Watch until `stopping`."""
        while not stopping.wait(WATCH_SECONDS):
            for bus, connection in self._connections.items():
                self._look(bus, connection)

    def _look(self, bus: str, connection: ConnectionState) -> None:
        if not connection.hung():
            if bus in self._hung:
                log.warning("%s: its thread is at work again", bus)
            self._hung.discard(bus)
        elif bus not in self._hung:
            self._hung.add(bus)
            connection.disconnects[Cause.HUNG] += 1
            where = stack(thread_name(bus))
            log.error("%s: its thread has hung for %g s here:\n%s", bus, HUNG_SECONDS, where)


def thread_name(bus: str) -> str:
    """Return the name of the thread of a bus's source."""
    return f"source:{bus}"
