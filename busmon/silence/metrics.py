"""What /metrics says of silence and of blindness: computed at scrape time, from memory."""

import time
from collections.abc import Callable, Iterator

from prometheus_client.core import Metric

from busmon.metrics.families import by_bus, counter, gauge
from busmon.silence.blind_time import BlindTime
from busmon.silence.watcher import SilenceWatcher

LABELS = ["bus", "topic"]


class SilenceMetrics:
    """A collector over the states of all topics and the blind times of all buses."""

    def __init__(
        self, watch: SilenceWatcher, blind: BlindTime, clock: Callable[[], float] = time.time
    ) -> None:
        self._watch = watch
        self._blind = blind
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; waits neither for a broker nor for the disk."""
        now = self._clock()
        states = self._watch.states(now)
        yield gauge(
            "busmon_topic_baseline_ready",
            "1 where enough was seen of the topic to know its usual rate, else 0.",
            LABELS,
            [(topic, state.ready) for topic, state in states.items()],
        )
        yield gauge(
            "busmon_topic_expected_since_last_messages",
            "How many messages should have come since the topic's last one, at its usual rate.",
            LABELS,
            [(topic, s.expected) for topic, s in states.items() if s.expected is not None],
        )
        yield gauge(
            "busmon_topic_silence_limit_messages",
            "Above so many expected messages since the last one the topic is silent.",
            LABELS,
            [(topic, s.limit) for topic, s in states.items() if s.limit is not None],
        )
        yield gauge(
            "busmon_topic_silent",
            "1 where the topic has been silent for too long, else 0. Blind times do not count.",
            LABELS,
            [(topic, state.silent) for topic, state in states.items()],
        )
        yield counter(
            "busmon_blind_seconds_total",
            "Time in which busmon did not receive from the bus, disconnected or not running.",
            ["bus"],
            by_bus(self._blind.seconds(now)),
        )
