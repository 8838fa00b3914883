"""How long messages took from stage to stage, as histograms that start with the process."""

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from enum import StrEnum

from prometheus_client.core import Metric

from busmon.metrics.families import Buckets, histogram

MAX_DELAY_SECONDS = 13 * 7 * 86400.0  # no message waits for longer: one of the times is wrong
BOUNDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400)


class Step(StrEnum):
    """A part of a message's way; the value is that of the label `stage`."""

    BUS = "bus"  # from sending to receipt by busmon
    LISTENER = "listener"  # from then until the listener passed it on
    STARTED = "started"  # from then until a worker started its task
    WORKER = "worker"  # from then until the task was finished
    HANDLERS = "handlers"  # from then until the last of its handlers was


def delay(seconds: float) -> float | None:
    """Return a delay: 0 if two clocks disagree, and None if it is absurd."""
    return max(0.0, seconds) if abs(seconds) <= MAX_DELAY_SECONDS else None


class StageDelays:
    """The delays of each bus and step. Thread-safe."""

    def __init__(self) -> None:
        self._adding = threading.Lock()  # held briefly, never while waiting
        self._buckets: dict[tuple[str, Step], Buckets] = defaultdict(lambda: Buckets(BOUNDS))

    def declare(self, series: Iterable[tuple[str, Step]]) -> None:
        """Create these series at zero."""
        with self._adding:
            for bus_and_step in series:
                self._buckets[bus_and_step]  # which creates it

    def add(self, bus: str, step: Step, seconds: float) -> None:
        """Count a delay, unless it is absurd."""
        if (taken := delay(seconds)) is not None:
            with self._adding:
                self._buckets[bus, step].add(taken)

    def collect(self) -> Iterator[Metric]:
        """Yield the histogram."""
        with self._adding:
            metric = histogram(
                "busmon_stage_delay_seconds",
                "Time from the stage before to this one: from sending to the bus, on to the"
                " listener, to the start and end of the task, to the end of the last handler.",
                ["bus", "stage"],
                {(bus, step): buckets for (bus, step), buckets in self._buckets.items()},
            )
        yield metric
