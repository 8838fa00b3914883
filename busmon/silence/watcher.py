"""Watches the silence of all topics: learns what is usual, and knows the state of each topic.

A thread of its own learns every hour from the ledger. In between it looks at the counters for
pauses that have ended. States are computed from memory.
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from busmon.ledger.batch import last_received
from busmon.ledger.clock import AHEAD_SECONDS, HostClock
from busmon.ledger.errors import LedgerError, LedgerWriteError
from busmon.ledger.hourly import Pause
from busmon.ledger.ledger import Ledger
from busmon.pipeline import OTHER
from busmon.problem_log import ProblemLog
from busmon.rules import RuleSet
from busmon.settings.audit import Silence
from busmon.silence import histories
from busmon.silence.blind_time import BlindTime
from busmon.silence.histories import Topic
from busmon.silence.learning import Learned, at_pace, learn_topic
from busmon.silence.rates import DAY_SECONDS, LEARNED_DAYS
from busmon.silence.reception import BLIND_TIMES_KEPT_SECONDS, blind_by_hour, is_plausible
from busmon.silence.record import archived, gone_topics, recorded, save
from busmon.silence.state import (
    USUAL_MAX_SILENCE,
    SilenceState,
    setting_of,
    setting_reached,
    silence_state,
    silent_since,
    together,
)

LEARN_INTERVAL = 3600.0  # seconds
LEARN_RETRY_INTERVAL = 60.0  # seconds, after a failure
REFRESH_INTERVAL = 10.0  # seconds; pauses are known no more exactly
YIELD_SECONDS = 0.01  # between two topics, so that recording is not held up

log = logging.getLogger(__name__)


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
        self._learned: dict[Topic, Learned] = {}
        self._begun: dict[Topic, float] = {}  # the first hour of those with too little history
        self._watched: set[Topic] | None = None  # None before all topics were learned once
        self._gone = gone_topics(ledger)  # and when their newest messages came
        self._ahead: dict[Topic, float] = {}  # what came beyond now, and when that was found
        self._last: dict[Topic, float] = {}  # when the newest message came, at the last refresh
        self._pauses: dict[Topic, dict[int, float]] = {}  # the longest of each day, not yet written
        self._relearn = threading.Event()
        self._problems = ProblemLog(log)

    def run(self, stopping: threading.Event) -> None:
        """Learn and refresh until `stopping`; not while the clock is suddenly far ahead."""
        due, clock = time.monotonic(), HostClock()
        while not stopping.is_set():
            with self._logging_problem():
                self.refresh()
                if time.monotonic() >= due or self._relearn.is_set():
                    self._relearn.clear()
                    due = time.monotonic() + LEARN_RETRY_INTERVAL
                    if (now := clock.read(self._ledger.floor)) is not None:
                        self.learn(now, stopping)
                        due = time.monotonic() + LEARN_INTERVAL
                        self._problems.solved()
            stopping.wait(REFRESH_INTERVAL)
        with self._logging_problem():
            self._write()

    def learn_soon(self) -> None:
        """Learn again at the next refresh: there is more to learn from."""
        self._relearn.set()

    def states(self, now: float) -> dict[Topic, SilenceState]:
        """Return the state of every topic, computed from memory."""
        last = self._last_received(now)
        states = {
            topic: self._state(topic, last.get(topic), now)
            for topic in sorted(self._known | last.keys())
        }
        for bus in self._buses:
            since = {
                topic.name: state.since
                for topic, state in states.items()
                if topic.bus == bus and state.since is not None
            }
            for name in together(since):
                topic = Topic(bus, name)
                states[topic] = replace(states[topic], together=True)
        return states

    def watched(self) -> set[Topic] | None:
        """Return the topics whose silence is known, or would be; None before that is learned."""
        return self._watched

    def learned(self, topic: Topic) -> Learned | None:
        """Return what is usual for a topic; None if that is not known."""
        return self._learned.get(topic)

    def retired(self, now: float) -> list[RetiredTopic]:
        """Return the topics that are retired, whether or not they still come."""
        last, dates = self._last_received(now), self._settings.retired
        topics = sorted(self._known | last.keys())
        since = ((topic, setting_of(topic.name, dates)) for topic in topics)
        return [
            RetiredTopic(topic, at, last.get(topic))
            for topic, at in since
            if at is not None and at <= now
        ]

    def learn(self, now: float, stopping: threading.Event | None = None) -> None:
        """Learn what is usual of every topic again. Raises LedgerError and LedgerWriteError."""
        self._write()
        if not is_plausible(now, self._ledger.floor):
            return  # what is known stays
        last = self._to_learn(self._last_received(now), now)
        known = self._to_learn(archived(self._ledger), now) | last
        blind = {bus: self._blind_hours(bus, now) for bus in self._buses}
        counts = histories.read(self._ledger, known, now, blind)
        learned: dict[Topic, Learned] = {}
        begun: dict[Topic, float] = {}
        for topic, of_topic in counts.items():
            hours = list(of_topic.until(now, blind[topic.bus]))
            if found := learn_topic(hours, *recorded(self._ledger, topic)):
                learned[topic] = found
            elif hours:
                begun[topic] = 3600.0 * hours[0].hour
            if stopping and stopping.wait(YIELD_SECONDS):
                return
        for bus in self._buses:
            learned |= at_pace(bus, learned, counts, blind[bus], now)
        # What was silent stays so when the history before it is forgotten, or its bus slows down.
        silent = {
            topic
            for topic in self._learned.keys() & last.keys()
            if self._state(topic, last[topic], now).silent
        }
        forgotten = silent - learned.keys()
        for topic in silent & learned.keys():
            pace = self._learned[topic].baseline.pace
            learned[topic] = learned[topic].at_least(pace)
        self._learned = {topic: one.without_days() for topic, one in learned.items()}
        self._begun = begun
        self._gone = {
            topic: at
            for topic, at in last.items()
            if topic in forgotten or self._is_gone(topic, at, now)
        }
        save(self._ledger, learned, self._gone)
        limited = {topic for topic in last if self._longest(topic) != (None, None)}
        self._watched = {*self._learned, *self._gone, *limited}

    def refresh(self) -> None:
        """Note the pauses that have ended since the last refresh."""
        last = self._received()
        for topic, received in last.items():
            before, learned = self._last.get(topic, received), self._learned.get(topic)
            if received <= before or learned is None:
                continue
            baseline = learned.baseline
            blind = self._blind_time.reception(topic.bus).blind_between(before, received)
            # So that an outage is not learned as usual, it counts as no more than the limit.
            pause = min(baseline.expected(before, received, blind), baseline.limit)
            of_topic = self._pauses.setdefault(topic, {})
            day = int(received // DAY_SECONDS)
            of_topic[day] = max(of_topic.get(day, 0.0), pause)
        self._last = last

    def _state(self, topic: Topic, last: float | None, now: float) -> SilenceState:
        retired = setting_reached(self._settings.retired, topic.name, now)
        if retired:
            return SilenceState(silent=False, retired=True)
        learned = self._learned.get(topic)
        blind = []
        if last is not None:
            blind = self._blind_time.reception(topic.bus).blind_between(last, now)

        def at(moment: float) -> SilenceState:
            return silence_state(
                learned.baseline if learned else None,
                last,
                moment,
                blind,
                *self._longest(topic),
            )

        volume, begun = learned.volume if learned else None, self._begun.get(topic)
        state = replace(at(now), retired=retired, volume=volume, begun=begun, last=last)
        if last is None:
            return state
        if last <= self._gone.get(topic, 0.0):
            return replace(state, silent=True, gone=True, ratio=max(state.ratio or 0.0, 1.0))
        if state.silent:
            since = silent_since(lambda moment: at(moment).silent, last, now)
            return replace(state, since=since)
        return state

    def _longest(self, topic: Topic) -> tuple[float | None, float | None]:
        """Return the longest silence that is configured for a topic, and the usual one."""
        configured = setting_of(topic.name, self._settings.max_silence)
        return configured, setting_of(topic.name, USUAL_MAX_SILENCE)

    def _to_learn(self, last: Mapping[Topic, float], now: float) -> dict[Topic, float]:
        """Return those of our buses that are not retired."""
        retired = self._settings.retired
        return {
            topic: at
            for topic, at in last.items()
            if topic.bus in self._buses and not setting_reached(retired, topic.name, now)
        }

    def _last_received(self, now: float) -> dict[Topic, float]:
        """Return when the newest message of each topic that is watched came.

        If that is beyond now, the clock was wrong then, and it counts from now on.
        """
        last = self._received()
        ahead = {topic for topic, at in last.items() if at > now + AHEAD_SECONDS}
        self._ahead = {topic: min(now, self._ahead.get(topic, now)) for topic in ahead}
        return last | self._ahead

    def _blind_hours(self, bus: str, now: float) -> dict[int, float]:
        oldest = now - BLIND_TIMES_KEPT_SECONDS
        return blind_by_hour(self._blind_time.reception(bus).blind_between(oldest, now), oldest)

    def _received(self) -> dict[Topic, float]:
        return {
            Topic(bus, name): at
            for (bus, name), at in last_received(self._ledger.counts()).items()
            if bus in self._buses and name != OTHER
        }

    def _is_gone(self, topic: Topic, last: float, now: float) -> bool:
        if last <= self._gone.get(topic, 0.0):
            return True
        learned = self._learned.get(topic)
        longest = learned.baseline.longest if learned else 0.0
        if now - last <= max(LEARNED_DAYS * DAY_SECONDS, 2 * longest):
            return False
        return self._state(topic, last, now).silent

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
