"""A publisher that works by itself: at a steady rate, with bursts."""

import random
import threading

from tests.support.streams import Stream

TICK = 0.5  # seconds
RATES = 10, 80  # messages a second
BURST = 1000  # messages
BURSTS = 1 / 60  # of the ticks
# In a round, before all is counted: below the 50 MB of which RabbitMQ drops the oldest.
ALLOWANCE = 6000  # messages


class Publisher(threading.Thread):
    """Publishes to one stream until stopped.

    Who holds `still` keeps it from publishing: a message that is under way when its broker
    dies may or may not have been taken, and nobody could say what is to be counted.
    """

    def __init__(self, stream: Stream, rng: random.Random) -> None:
        super().__init__(name=f"publisher-{stream.bus}", daemon=True)
        self.stream = stream
        self.still = threading.Lock()
        self.failure: BaseException | None = None
        self._rng = rng
        self._stopping = threading.Event()
        self.refresh()

    def refresh(self) -> None:
        """Begin a new round, at a rate of its own."""
        self._rate = self._rng.uniform(*RATES)
        self._allowance = ALLOWANCE

    def run(self) -> None:
        while not self._stopping.wait(TICK):
            with self.still:
                try:
                    self._publish()
                except BaseException as failure:
                    self.failure = failure
                    raise

    def stop(self) -> None:
        """End, with all on the broker that was begun."""
        self._stopping.set()
        self.join()

    def _publish(self) -> None:
        number = round(self._rate * TICK * self._rng.uniform(0, 2))
        if self._rng.random() < BURSTS:
            number += BURST
        number = min(number, self._allowance)
        self._allowance -= number
        self.stream.publish(number)
