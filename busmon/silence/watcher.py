"""Watches the silence of all topics: learns what is usual, and knows the state of each topic.

A thread of its own learns every hour from the ledger. In between it looks at the counters for
pauses that have ended. States are computed from memory.
"""

import logging
import threading
import time
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from busmon.ledger.batch import last_received
from busmon.ledger.errors import LedgerError, LedgerWriteError
from busmon.ledger.hourly import Pause
from busmon.ledger.ledger import Ledger
from busmon.pipeline import OTHER
from busmon.problem_log import ProblemLog
from busmon.rules import RuleSet
from busmon.settings.audit import Silence
from busmon.silence.baseline import Baseline, common_pace, learn
from busmon.silence.blind_time import BlindTime
from busmon.silence.rates import DAY_SECONDS, LEARNED_HOURS, WEEK_HOURS, Hour
from busmon.silence.reception import blind_by_hour
from busmon.silence.state import USUAL_MAX_SILENCE, SilenceState, setting_of, silence_state

LEARN_INTERVAL = 3600.0  # seconds
LEARN_RETRY_INTERVAL = 60.0  # seconds, after a failure
REFRESH_INTERVAL = 10.0  # seconds; pauses are known no more exactly
YIELD_SECONDS = 0.01  # between two topics, so that recording is not held up

log = logging.getLogger(__name__)


class Topic(NamedTuple):
    """A topic of a bus."""

    bus: str
    name: str


class RetiredTopic(NamedTuple):
    """A topic that no longer has to come, in Unix times."""

    topic: Topic
    since: float
    last: float | None  # when its newest message came


class SilenceWatcher:
    """All topics that the rules know, or of which a message came. Any thread may read."""

    def __init__(
        self,
        settings: Silence,
        ledger: Ledger,
        rule_sets: Mapping[str, RuleSet],
        blind_time: BlindTime,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._blind_time = blind_time
        self._known = {
            Topic(bus, topic)
            for bus, rules in rule_sets.items()
            for topic, _ in rules.known_series()
        }
        self._buses = set(rule_sets)
        self._baselines: dict[Topic, Baseline] = {}
        self._last: dict[Topic, float] = {}  # when the newest message came, at the last refresh
        self._pauses: dict[Topic, dict[int, float]] = {}  # the longest of each day, not yet written
        self._problems = ProblemLog(log)

    def run(self, stopping: threading.Event) -> None:
        """Learn and refresh until `stopping`."""
        due = time.monotonic()
        while not stopping.is_set():
            with self._logging_problem():
                self.refresh()
                if time.monotonic() >= due:
                    due = time.monotonic() + LEARN_RETRY_INTERVAL
                    self.learn(time.time(), stopping)
                    due = time.monotonic() + LEARN_INTERVAL
                    self._problems.solved()
            stopping.wait(REFRESH_INTERVAL)
        with self._logging_problem():
            self._write()

    def states(self, now: float) -> dict[Topic, SilenceState]:
        """Return the state of every topic, computed from memory."""
        last = self._last_received()
        return {
            topic: self._state(topic, last.get(topic), now)
            for topic in sorted(self._known | last.keys())
        }

    def retired(self, now: float) -> list[RetiredTopic]:
        """Return the topics that are retired, whether or not they still come."""
        last, dates = self._last_received(), self._settings.retired
        topics = sorted(self._known | last.keys())
        since = ((topic, setting_of(topic.name, dates)) for topic in topics)
        return [
            RetiredTopic(topic, at, last.get(topic))
            for topic, at in since
            if at is not None and at <= now
        ]

    def learn(self, now: float, stopping: threading.Event | None = None) -> None:
        """Learn the baseline of every topic again. Raises LedgerError and LedgerWriteError."""
        self._write()
        last, recorded = self._last_received(), self._recorded()
        blind = {bus: self._blind_time.reception(bus).blind_times for bus in self._buses}
        unseen = {bus: blind_by_hour(intervals) for bus, intervals in blind.items()}
        baselines = {}
        for topic, first, messages in self._histories(now):
            if topic not in last or self._is_retired(topic, now):
                continue
            hours = _hours(first, messages, unseen[topic.bus], int(last[topic] // 3600))
            if baseline := learn(hours, recorded.get(topic, {})):
                baselines[topic] = baseline
            if stopping and stopping.wait(YIELD_SECONDS):
                return
        self._baselines = dict(_at_pace_of_bus(baselines))

    def refresh(self) -> None:
        """Note the pauses that have ended since the last refresh."""
        last = self._last_received()
        for topic, received in last.items():
            before, baseline = self._last.get(topic, received), self._baselines.get(topic)
            if received <= before or baseline is None:
                continue
            blind = self._blind_time.reception(topic.bus).blind_between(before, received)
            # So that an outage is not learned as usual, it counts as no more than the limit.
            pause = min(baseline.expected(before, received, blind), baseline.limit)
            of_topic = self._pauses.setdefault(topic, {})
            day = int(received // DAY_SECONDS)
            of_topic[day] = max(of_topic.get(day, 0.0), pause)
        self._last = last

    def _state(self, topic: Topic, last: float | None, now: float) -> SilenceState:
        retired = self._is_retired(topic, now)
        if retired:
            return SilenceState(silent=False, retired=True)
        reception = self._blind_time.reception(topic.bus)
        blind = [] if last is None else reception.blind_between(last, now)
        configured = setting_of(topic.name, self._settings.max_silence)
        usual = setting_of(topic.name, USUAL_MAX_SILENCE)
        baseline = self._baselines.get(topic)
        state = silence_state(baseline, last, now, blind, configured, usual)
        return replace(state, retired=retired)

    def _is_retired(self, topic: Topic, now: float) -> bool | None:
        """Return whether the topic no longer has to come; None if it never retires."""
        since = setting_of(topic.name, self._settings.retired)
        return None if since is None else now >= since

    def _last_received(self) -> dict[Topic, float]:
        """Return when the newest message of each topic that is watched came."""
        return {
            Topic(bus, name): at
            for (bus, name), at in last_received(self._ledger.counts()).items()
            if bus in self._buses and name != OTHER
        }

    def _histories(self, now: float) -> Iterator[tuple[Topic, int, "array[int]"]]:
        """Yield each topic, the first hour that is learned from, and the messages of each hour."""
        first = int(now // 3600) + 1 - LEARNED_HOURS
        weeks = range(first, first + LEARNED_HOURS, WEEK_HOURS)
        histories: defaultdict[Topic, array[int]] = defaultdict(_no_messages)
        with self._ledger.read() as tables:
            for week in weeks:  # not all at once: the sorting would need memory
                for one in tables.hourly_sums.between(week, week + WEEK_HOURS):
                    if one.bus in self._buses and one.topic != OTHER:
                        histories[Topic(one.bus, one.topic)][one.hour - first] += one.messages
        for topic, messages in histories.items():
            yield topic, first, messages

    def _recorded(self) -> dict[Topic, dict[int, float]]:
        recorded: dict[Topic, dict[int, float]] = {}
        with self._ledger.read() as tables:
            for bus, topic, day, expected in tables.pauses.all():
                recorded.setdefault(Topic(bus, topic), {})[day] = expected
        return recorded

    def _write(self) -> None:
        pauses = [
            Pause(*topic, day, expected)
            for topic, days in self._pauses.items()
            for day, expected in days.items()
        ]
        with self._ledger.write() as tables:
            tables.pauses.add(pauses)
        self._pauses = {}

    @contextmanager
    def _logging_problem(self) -> Iterator[None]:
        """Log that the ledger cannot be used, and continue: the next round tries again."""
        try:
            yield
        except (LedgerWriteError, LedgerError) as error:
            self._problems.problem(f"ledger: cannot learn what is usual: {error}")


def _no_messages() -> "array[int]":
    return array("L", [0]) * LEARNED_HOURS


def _hours(
    first: int, messages: Iterable[int], blind: Mapping[int, float], last: int
) -> list[Hour]:
    """Return the hours from the first message on to the hour of the last one."""
    hours = [
        Hour(number, counted, 1 - blind.get(number, 0.0) / 3600)
        for number, counted in enumerate(messages, first)
        if number <= last
    ]
    started = next((index for index, hour in enumerate(hours) if hour.messages), len(hours))
    return hours[started:]


def _at_pace_of_bus(baselines: Mapping[Topic, Baseline]) -> Iterator[tuple[Topic, Baseline]]:
    """Yield each baseline at its own pace, or at that of its bus if that is slower."""
    paces: dict[str, list[float]] = {}
    for topic, baseline in baselines.items():
        paces.setdefault(topic.bus, []).append(baseline.pace)
    for topic, baseline in baselines.items():
        pace = min(baseline.pace, common_pace(paces[topic.bus]))
        yield topic, replace(baseline, pace=pace)
