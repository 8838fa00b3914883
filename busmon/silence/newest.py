"""When the newest message of each topic came, by the counters."""

from collections.abc import Collection

from busmon.ledger.batch import last_received
from busmon.ledger.clock import AHEAD_SECONDS
from busmon.ledger.ledger import Ledger
from busmon.message import Topic
from busmon.pipeline import OTHER


class NewestMessages:
    """The newest messages of some buses, from memory."""

    def __init__(self, ledger: Ledger, buses: Collection[str]) -> None:
        self._ledger = ledger
        self._buses = buses
        self._ahead: dict[Topic, float] = {}  # what came beyond now, and when that was found

    def recorded(self) -> dict[Topic, float]:
        """Return the Unix times on record."""
        return {
            Topic(bus, name): at
            for (bus, name), at in last_received(self._ledger.counts()).items()
            if bus in self._buses and name != OTHER
        }

    def at(self, now: float) -> dict[Topic, float]:
        """Return the Unix times. One beyond now is of a wrong clock, and counts from now on."""
        last = self.recorded()
        ahead = {topic for topic, at in last.items() if at > now + AHEAD_SECONDS}
        self._ahead = {topic: min(now, self._ahead.get(topic, now)) for topic in ahead}
        return last | self._ahead
