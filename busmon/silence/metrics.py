"""The metrics of silence and of blind times, computed from memory at each scrape."""

import time
from collections.abc import Callable, Iterator

from prometheus_client.core import Metric

from busmon.clock import steady
from busmon.metrics.families import by_bus, counter, gauge
from busmon.silence.blind_time import BlindTime
from busmon.silence.state import SilenceState
from busmon.silence.watcher import SilenceWatcher

Value = Callable[[SilenceState], float | None]  # None: the topic has no series

GAUGES: tuple[tuple[str, str, Value], ...] = (
    (
        "busmon_topic_baseline_ready",
        "1 if the usual rate of the topic is known, else 0.",
        lambda state: state.ready,
    ),
    (
        "busmon_topic_expected_since_last_messages",
        "How many messages should have come since the topic's last one, at its usual rate.",
        lambda state: state.expected,
    ),
    (
        "busmon_topic_silence_limit_messages",
        "If more messages than this are expected since the last one, the topic is silent.",
        lambda state: state.limit,
    ),
    (
        "busmon_topic_silence_ratio",
        "How long the topic has been silent, as a part of its limit; above 1 it is silent.",
        lambda state: state.ratio,
    ),
    (
        "busmon_topic_silent",
        "1 if the topic has been silent for too long, else 0. Blind times do not count.",
        lambda state: state.silent,
    ),
    (
        "busmon_topic_quiet_since_timestamp_seconds",
        "Unix time of the last message of a silent topic, or since when it has to come.",
        lambda state: state.quiet_since if state.silent else None,
    ),
    (
        "busmon_topic_gone",
        "1 if the topic has been silent for months, until it comes or is retired.",
        lambda state: state.gone or None,
    ),
    (
        "busmon_topic_silent_together",
        "1 if the topic became silent within 6 hours of two or more others of its bus.",
        lambda state: state.together or None,
    ),
    (
        "busmon_topic_in_campaigns",
        "1 if the topic comes for some days, then not for many. It needs a max_silence.",
        lambda state: state.campaigns or None,
    ),
    (
        "busmon_topic_low",
        "1 if too few messages of the topic come, less than 40 % of what is usual, else 0.",
        lambda state: state.volume.low if state.volume else None,
    ),
    (
        "busmon_topic_deficit_messages",
        "By how many messages the topic is below 40 % of what is usual.",
        lambda state: state.volume.deficit if state.volume else None,
    ),
    (
        "busmon_topic_deficit_limit_messages",
        "If the deficit is larger than this, the volume of the topic is too low.",
        lambda state: state.volume.limit if state.volume else None,
    ),
    (
        "busmon_topic_retired",
        "1 since the topic no longer has to come, by [silence] retired; 0 before that date.",
        lambda state: state.retired,
    ),
)


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
        for name, text, value in GAUGES:
            values = ((topic, value(state)) for topic, state in states.items())
            known = [(topic, number) for topic, number in values if number is not None]
            yield gauge(name, text, ["bus", "topic"], known)
        yield counter(
            "busmon_blind_seconds_total",
            "Blind time: busmon did not receive from the bus, disconnected or not running.",
            ["bus"],
            by_bus(self._blind_time.seconds(now, steady())),
        )
