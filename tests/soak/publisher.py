"""A publisher in a thread of its own: a steady rate, with bursts."""

import random
import threading
from typing import NamedTuple

from tests.support.streams import Stream

TICK = 0.5  # seconds
BURSTS = 1 / 60  # of the ticks


class Pace(NamedTuple):
    """How much is published in a round, until all is counted."""

    rates: tuple[float, float]  # messages a second, at least and at most
    burst: int  # messages
    allowance: int  # messages


# The allowance is below the 50 MB of which RabbitMQ drops the oldest.
USUAL = Pace((10, 80), 1000, 6000)


class Publisher(threading.Thread):
    """Publishes to one stream until stopped.

    It does not publish while somebody holds `still`. A broker that dies may or may not have
    taken a message on its way, and then the expected count is unknown.
    """

    def __init__(self, stream: Stream, rng: random.Random, pace: Pace = USUAL) -> None:
        super().__init__(name=f"publisher-{stream.bus}", daemon=True)
        self.stream = stream
        self.still = threading.Lock()
        self.failure: BaseException | None = None
        self._rng = rng
        self._pace = pace
        self._stopping = threading.Event()
        self.refresh()

    def refresh(self) -> None:
        """Start a new round with another rate."""
        self._rate = self._rng.uniform(*self._pace.rates)
        self._allowance = self._pace.allowance

    def run(self) -> None:
        while not self._stopping.wait(TICK):
            with self.still:
                try:
                    self._publish()
                except BaseException as failure:
                    self.failure = failure
                    raise

    def stop(self) -> None:
        """Stop when the broker has all that was begun."""
        self._stopping.set()
        self.join()

    def _publish(self) -> None:
        number = round(self._rate * TICK * self._rng.uniform(0, 2))
        if self._rng.random() < BURSTS:
            number += self._pace.burst
        number = min(number, self._allowance)
        self._allowance -= number
        self.stream.publish(number)
