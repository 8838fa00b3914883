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
from types import MappingProxyType
from typing import NamedTuple

from busmon.ledger.clock import HostClock
from busmon.ledger.errors import LedgerError, LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.message import Topic
from busmon.problem_log import ProblemLog
from busmon.rules import RuleSet
from busmon.settings.silence import Silence
from busmon.silence import histories
from busmon.silence.blind_time import BlindTime
from busmon.silence.ended_pauses import EndedPauses
from busmon.silence.expected import ExpectedTopics
from busmon.silence.learning import Learned, at_pace, learn_topic
from busmon.silence.newest import NewestMessages
from busmon.silence.rates import DAY_SECONDS, LEARNED_DAYS
from busmon.silence.reception import BLIND_TIMES_KEPT_SECONDS, blind_by_hour, is_plausible
from busmon.silence.record import (
    archived,
    awaited_topics,
    gone_topics,
    recorded,
    save,
    save_awaited,
)
from busmon.silence.state import (
    SilenceState,
    setting_of,
    setting_reached,
    silence_state,
    silent_since,
    together,
    usual_max_silence,
)
from busmon.sources.bus import Subscription

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
    """All topics that the rules know, or of which a message came. Any thread may read.

    `subscriptions` are those of the buses of which they are known.
    """

    def __init__(
        self,
        settings: Silence,
        ledger: Ledger,
        rule_sets: Mapping[str, RuleSet],
        blind_time: BlindTime,
        subscriptions: Mapping[str, Subscription] = MappingProxyType({}),
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
        self._newest = NewestMessages(ledger, self._buses)
        self._expected = ExpectedTopics(settings, rule_sets, subscriptions)
        self._awaited = {  # the topics that never came, and since when they have to
            topic: since
            for topic, since in awaited_topics(ledger).items()
            if topic in self._expected.known
        }
        self._pauses = EndedPauses(ledger, blind_time, self._newest)
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
            self._pauses.write()

    def learn_soon(self) -> None:
        """Learn again at the next refresh: there is more to learn from."""
        self._relearn.set()

    def states(self, now: float) -> dict[Topic, SilenceState]:
        """Return the state of every topic, computed from memory."""
        last = self._newest.at(now)
        states = {
            topic: self._state(topic, last.get(topic), now)
            for topic in sorted(self._known | last.keys() | self._awaited.keys())
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
        last, dates = self._newest.at(now), self._settings.retired
        topics = sorted(self._known | last.keys())
        since = ((topic, setting_of(topic.name, dates)) for topic in topics)
        return [
            RetiredTopic(topic, at, last.get(topic))
            for topic, at in since
            if at is not None and at <= now
        ]

    def learn(self, now: float, stopping: threading.Event | None = None) -> None:
        """Learn what is usual of every topic again. Raises LedgerError and LedgerWriteError."""
        self._pauses.write()
        if not is_plausible(now, self._ledger.floor):
            return  # what is known stays
        last = self._to_learn(self._newest.at(now), now)
        self._await(last, now)
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
        waiting = self._awaited | last
        silent = {
            topic
            for topic in self._learned.keys() & waiting.keys()
            if self._state(topic, last.get(topic), now).silent
        }
        forgotten = silent - learned.keys()
        for topic in silent & learned.keys():
            pace = self._learned[topic].baseline.pace
            learned[topic] = learned[topic].at_least(pace)
        self._learned = {topic: one.without_days() for topic, one in learned.items()}
        self._begun = begun
        self._gone = {
            topic: at
            for topic, at in waiting.items()
            if topic in forgotten or self._is_gone(topic, last.get(topic), now)
        }
        save(self._ledger, learned, self._gone)
        limited = {topic for topic in waiting if self._longest(topic) != (None, None)}
        self._watched = {*self._learned, *self._gone, *limited}

    def refresh(self) -> None:
        """Note the pauses that have ended since the last refresh."""
        self._pauses.note(self._learned)

    def _state(self, topic: Topic, last: float | None, now: float) -> SilenceState:
        retired = setting_reached(self._settings.retired, topic.name, now)
        if retired:
            return SilenceState(silent=False, retired=True)
        learned = self._learned.get(topic)
        awaited = self._awaited.get(topic) if last is None else None
        quiet_since = awaited if last is None else last
        blind = []
        if quiet_since is not None:
            blind = self._blind_time.reception(topic.bus).blind_between(quiet_since, now)

        def at(moment: float) -> SilenceState:
            return silence_state(
                learned.baseline if learned else None,
                quiet_since,
                moment,
                blind,
                *self._longest(topic),
            )

        volume, begun = learned.volume if learned else None, self._begun.get(topic)
        state = replace(
            at(now), retired=retired, volume=volume, begun=begun, last=last, awaited=awaited
        )
        if quiet_since is None:
            return state
        if quiet_since <= self._gone.get(topic, 0.0):
            return replace(state, silent=True, gone=True, ratio=max(state.ratio or 0.0, 1.0))
        if state.silent:
            since = silent_since(lambda moment: at(moment).silent, quiet_since, now)
            return replace(state, since=since)
        return state

    def _longest(self, topic: Topic) -> tuple[float | None, float | None]:
        """Return the longest silence that is configured for a topic, and the usual one.

        A topic that has to come on the first day has that one instead until it has a baseline.
        """
        configured = setting_of(topic.name, self._settings.max_silence)
        within = None if topic in self._learned else self._expected.within(topic)
        usual = usual_max_silence(topic.name) if within is None else within
        return configured, usual

    def _await(self, last: Mapping[Topic, float], now: float) -> None:
        """Note since when busmon has waited for the topics that have to come, and never did.

        A time beyond now is of a wrong clock, and becomes now.
        """
        missing = self._to_learn(dict.fromkeys(self._expected.known, now), now).keys() - last.keys()
        awaited = {topic: min(now, self._awaited.get(topic, now)) for topic in missing}
        if awaited != awaited_topics(self._ledger):
            save_awaited(self._ledger, awaited)
        self._awaited = awaited_topics(self._ledger)

    def _to_learn(self, last: Mapping[Topic, float], now: float) -> dict[Topic, float]:
        """Return those of our buses that are not retired."""
        retired = self._settings.retired
        return {
            topic: at
            for topic, at in last.items()
            if topic.bus in self._buses and not setting_reached(retired, topic.name, now)
        }

    def _blind_hours(self, bus: str, now: float) -> dict[int, float]:
        oldest = now - BLIND_TIMES_KEPT_SECONDS
        return blind_by_hour(self._blind_time.reception(bus).blind_between(oldest, now), oldest)

    def _is_gone(self, topic: Topic, last: float | None, now: float) -> bool:
        quiet_since = self._awaited[topic] if last is None else last
        if quiet_since <= self._gone.get(topic, 0.0):
            return True
        learned = self._learned.get(topic)
        longest = learned.baseline.longest if learned else 0.0
        if now - quiet_since <= max(LEARNED_DAYS * DAY_SECONDS, 2 * longest):
            return False
        return self._state(topic, last, now).silent

    @contextmanager
    def _logging_problem(self) -> Iterator[None]:
        """Log that the ledger cannot be used, and continue: the next round tries again."""
        try:
            yield
        except (LedgerWriteError, LedgerError) as error:
            self._problems.problem(f"ledger: cannot learn what is usual: {error}")
