"""A bus that redelivers everything that was not acknowledged, and a busmon that stops for that.

So if nothing is lost, what was published is what is counted.
"""

import json
from collections import Counter
from itertools import count
from uuid import uuid4

from tests.support.brokers import wait_until
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.busmon_process import Busmon


class Bus:
    """A bus with one topic, every message of which is handled."""

    def __init__(self, broker: Mosquitto) -> None:
        self._broker = broker
        self._place = uuid4().hex
        self._numbers = count()
        self.settings = {
            "type": "mqtt",
            "rules": "all",
            "url": broker.url,
            "client_id": self._place,
            "topics": [f"{self._place}/#"],
        }

    def publish(self, messages: int) -> None:
        """Publish so many; on return the broker has them."""
        bodies = [json.dumps({"number": next(self._numbers)}).encode() for _ in range(messages)]
        self._broker.publish((f"{self._place}/pull-request.new", body) for body in bodies)

    def counted(self, messages: int) -> Counter[tuple[str, ...]]:
        return Counter({("centos", f"{self._place}/pull-request.new", "handled", ""): messages})


def wait_until_counted(busmon: Busmon, bus: Bus, messages: int) -> None:
    """Wait until exactly so many are counted, none of them came twice, and busmon is ready."""
    wait_until(lambda: busmon.counts() == bus.counted(messages), 60, f"{messages} messages")
    busmon.wait_until_ready()
    assert busmon.counts() == bus.counted(messages)
    assert busmon.duplicates() == {}


def wait_until_reported(busmon: Busmon, cause: str) -> None:
    """Wait until /ready says that the ledger and the bus have stopped for this cause."""
    expected = [f"centos: ledger: {cause}", f"ledger: {cause}"]
    try:
        wait_until(lambda: busmon.ask("/ready") == (503, expected), what=f"{expected} in /ready")
    except AssertionError as error:
        error.add_note("\n".join(busmon.ask("/ready")[1]))
        raise
    assert busmon.ask("/live") == (200, ["live"])
    _, lines = busmon.ask("/metrics?name[]=busmon_ledger_up")
    assert "busmon_ledger_up 0.0" in lines
