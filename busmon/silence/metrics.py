"""The metrics of silence and of blind times, computed from memory at each scrape."""

import time
from collections.abc import Callable, Iterator

from prometheus_client.core import Metric

from busmon.clock import steady
from busmon.metrics.families import by_bus, counter, gauge
from busmon.silence.blind_time import BlindTime
from busmon.silence.watcher import SilenceWatcher

LABELS = ["bus", "topic"]


class SilenceMetrics:
    """A collector over the states of all topics and the blind times of all buses."""

    def __init__(
        self, silence: SilenceWatcher, blind_time: BlindTime, clock: Callable[[], float] = time.time
    ) -> None:
        self._silence = silence
        self._blind_time = blind_time
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Yield every metric. Waits neither for a broker nor for the disk."""
        now = self._clock()
        states = self._silence.states(now)
        yield gauge(
            "busmon_topic_baseline_ready",
            "1 if the usual rate of the topic is known, else 0.",
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
            "If more messages than this are expected since the last one, the topic is silent.",
            LABELS,
            [(topic, s.limit) for topic, s in states.items() if s.limit is not None],
        )
        yield gauge(
            "busmon_topic_silent",
            "1 if the topic has been silent for too long, else 0. Blind times do not count.",
            LABELS,
            [(topic, state.silent) for topic, state in states.items()],
        )
        yield gauge(
            "busmon_topic_retired",
            "1 since the topic no longer has to come, by [silence] retired; 0 before that date.",
            LABELS,
            [(topic, s.retired) for topic, s in states.items() if s.retired is not None],
        )
        yield counter(
            "busmon_blind_seconds_total",
            "Blind time: busmon did not receive from the bus, disconnected or not running.",
            ["bus"],
            by_bus(self._blind_time.seconds(now, steady())),
        )
