"""The histograms of recorded batches and their messages. They start with the process."""

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator

from prometheus_client.core import Metric

from busmon.ledger.ledger import Recorded
from busmon.metrics.delays import StageDelays, Step
from busmon.metrics.families import Buckets, histogram

SIZE_BYTES = tuple(256 * 4**power for power in range(9))  # 256 B to 16 MiB
BATCH_MESSAGES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
COMMIT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class BatchHistograms:
    """Delay and size of each message by bus; size and duration of each batch. Thread-safe."""

    def __init__(self, buses: Iterable[str]) -> None:
        self._adding = threading.Lock()  # held briefly, never while waiting
        self.delays = StageDelays()
        self.delays.declare((bus, Step.BUS) for bus in buses)
        self._sizes = defaultdict(
            lambda: Buckets(SIZE_BYTES), {bus: Buckets(SIZE_BYTES) for bus in buses}
        )
        self._batches = Buckets(BATCH_MESSAGES)
        self._commits = Buckets(COMMIT_SECONDS)

    def add(self, recorded: Recorded) -> None:
        """Add a batch. Its duplicates count only in the size of the batch."""
        with self._adding:
            for message in recorded.new:
                bus = message.series.bus
                self._sizes[bus].add(message.size)
                if message.sent_at is not None:
                    self.delays.add(bus, Step.BUS, message.received_at - message.sent_at)
            self._batches.add(len(recorded.new) + recorded.duplicates)
            self._commits.add(recorded.seconds)

    def collect(self) -> Iterator[Metric]:
        """Yield the histograms."""
        with self._adding:
            metrics = [
                histogram(
                    "busmon_message_size_bytes",
                    "Size of a message's body as sent.",
                    ["bus"],
                    {(bus,): buckets for bus, buckets in self._sizes.items()},
                ),
                histogram(
                    "busmon_batch_messages",
                    "Messages recorded and acknowledged together, duplicates included.",
                    [],
                    {(): self._batches},
                ),
                histogram(
                    "busmon_commit_duration_seconds",
                    "Time to write one batch to the ledger, until it is on disk.",
                    [],
                    {(): self._commits},
                ),
            ]
        yield from self.delays.collect()
        yield from metrics
