"""The metrics of silence and of blind times, computed from memory at each scrape."""

import time
from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import Metric

from busmon.clock import steady
from busmon.metrics.families import by_bus, counter, gauge
from busmon.silence.blind_time import BlindTime
from busmon.silence.histories import Topic
from busmon.silence.state import Volume
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
            "busmon_topic_silence_ratio",
            "How long the topic has been silent, as a part of its limit; above 1 it is silent.",
            LABELS,
            [(topic, s.ratio) for topic, s in states.items() if s.ratio is not None],
        )
        yield gauge(
            "busmon_topic_silent",
            "1 if the topic has been silent for too long, else 0. Blind times do not count.",
            LABELS,
            [(topic, state.silent) for topic, state in states.items()],
        )
        yield gauge(
            "busmon_topic_gone",
            "1 if the topic has been silent for months, until it comes or is retired.",
            LABELS,
            [(topic, True) for topic, s in states.items() if s.gone],
        )
        yield gauge(
            "busmon_topic_silent_together",
            "1 if the topic became silent within 6 hours of two or more others of its bus.",
            LABELS,
            [(topic, True) for topic, s in states.items() if s.together],
        )
        yield gauge(
            "busmon_topic_in_campaigns",
            "1 if the topic comes for some days, then not for many. It needs a max_silence.",
            LABELS,
            [(topic, True) for topic, s in states.items() if s.campaigns],
        )
        yield from _volumes({topic: s.volume for topic, s in states.items() if s.volume})
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


def _volumes(volumes: Mapping[Topic, Volume]) -> Iterator[Metric]:
    yield gauge(
        "busmon_topic_low",
        "1 if too few messages of the topic come, less than 40 % of what is usual, else 0.",
        LABELS,
        [(topic, volume.low) for topic, volume in volumes.items()],
    )
    yield gauge(
        "busmon_topic_deficit_messages",
        "How many messages lack to 40 % of what is usual.",
        LABELS,
        [(topic, volume.deficit) for topic, volume in volumes.items()],
    )
    yield gauge(
        "busmon_topic_deficit_limit_messages",
        "If more messages than this lack, the volume of the topic is too low.",
        LABELS,
        [(topic, volume.limit) for topic, volume in volumes.items()],
    )
