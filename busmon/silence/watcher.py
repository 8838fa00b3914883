"""Silence as the service watches it: learns from the ledger, and tells the state of each topic.

A thread of its own learns every hour, and looks at the tallies in between for the length
of the pauses that have ended. A scrape computes from what is in memory.
"""

import logging
import threading
import time
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from busmon.ledger.errors import LedgerError, LedgerWriteError
from busmon.ledger.hourly import Pause
from busmon.ledger.ledger import Ledger
from busmon.pipeline import OTHER
from busmon.rules import RuleSet
from busmon.settings.audit import Silence
from busmon.silence.baseline import Baseline, State, bound, common_pace, judge, learn
from busmon.silence.blind_time import BlindTime
from busmon.silence.rates import LEARNED, WEEK, Hour
from busmon.silence.reception import blind_by_hour

LEARNING = 3600.0  # seconds between two times of learning
RETRYING = 60.0  # seconds, where it failed
LOOKING = 10.0  # seconds between looks at the tallies; a pause is known no better
YIELD_SECONDS = 0.01  # seconds between the topics, for counting to go on

# What nobody configures holds beside what is learned: the critical thresholds of Fedora's
# Nagios, in seconds. It knows neither OpenScanHub nor Log Detective.
DAY = 86400
USUAL = {
    "org.fedoraproject.prod.copr.*": DAY,
    "org.fedoraproject.prod.buildsys.*": DAY,
    "org.fedoraproject.prod.pagure.*": 7 * DAY,
    "org.fedoraproject.prod.hotness.*": 21 * DAY,
    "org.release-monitoring.prod.anitya.*": 21 * DAY,
    "org.fedoraproject.prod.openscanhub.*": 7 * DAY,
    "org.fedoraproject.prod.logdetective.*": 7 * DAY,
}

log = logging.getLogger(__name__)


class Topic(NamedTuple):
    """A topic of a bus."""

    bus: str
    name: str


class SilenceWatcher:
    """The states of all topics that are known to the rules or were seen. Any thread may read."""

    def __init__(
        self,
        settings: Silence,
        ledger: Ledger,
        books: Mapping[str, RuleSet],
        blind: BlindTime,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._blind = blind
        self._known = {
            Topic(bus, topic) for bus, book in books.items() for topic, _ in book.known_series()
        }
        self._buses = set(books)
        self._baselines: dict[Topic, Baseline] = {}
        self._last: dict[Topic, float] = {}  # the messages at the last look
        self._pauses: dict[Topic, dict[int, float]] = {}  # the longest of each day, not written yet
        self._problem = False

    def run(self, stopping: threading.Event) -> None:
        """Learn and look until `stopping`."""
        due = time.monotonic()
        while not stopping.is_set():
            with self._logging_problem():
                self.refresh()
                if time.monotonic() >= due:
                    due = time.monotonic() + RETRYING
                    self.learn(time.time(), stopping)
                    due = time.monotonic() + LEARNING
                    self._problem = False
            stopping.wait(LOOKING)
        with self._logging_problem():
            self._write(time.time())

    def states(self, now: float) -> dict[Topic, State]:
        """Return the state of every topic, computed from memory."""
        last = self._last_received()
        return {
            topic: self._state(topic, last.get(topic), now)
            for topic in sorted(self._known | last.keys())
        }

    def learn(self, now: float, stopping: threading.Event | None = None) -> None:
        """Learn the baseline of every topic anew. Raises LedgerWriteError where it can't read."""
        self._write(now)
        last, recorded = self._last_received(), self._recorded()
        blind = {bus: self._blind.reception(bus).blind_times for bus in self._buses}
        unseen = {bus: blind_by_hour(intervals) for bus, intervals in blind.items()}
        baselines = {}
        for topic, first, messages in self._histories(now):
            if topic not in last:
                continue
            hours = _hours(first, messages, unseen[topic.bus], int(last[topic] // 3600))
            if baseline := learn(hours, recorded.get(topic, {})):
                baselines[topic] = baseline
            if stopping and stopping.wait(YIELD_SECONDS):
                return
        self._baselines = dict(_in_step(baselines))

    def refresh(self) -> None:
        """Note the pauses that have ended since the last look."""
        last = self._last_received()
        for topic, received in last.items():
            before, baseline = self._last.get(topic, received), self._baselines.get(topic)
            if received <= before or baseline is None:
                continue
            blind = self._blind.reception(topic.bus).blind_between(before, received)
            # An outage is not to be learned from: it counts as no more than the limit.
            pause = min(baseline.expected(before, received, blind), baseline.limit)
            of_topic = self._pauses.setdefault(topic, {})
            day = int(received // DAY)
            of_topic[day] = max(of_topic.get(day, 0.0), pause)
        self._last = last

    def _state(self, topic: Topic, last: float | None, now: float) -> State:
        reception = self._blind.reception(topic.bus)
        blind = [] if last is None else reception.blind_between(last, now)
        configured = bound(self._settings.max_silence, topic.name)
        usual = bound(USUAL, topic.name)
        return judge(self._baselines.get(topic), last, now, blind, configured, usual)

    def _last_received(self) -> dict[Topic, float]:
        """Return when the newest message of each topic came, over all outcomes."""
        last: dict[Topic, float] = {}
        for series, tally in self._ledger.counts().items():
            if series.bus in self._buses and series.topic != OTHER and tally.last_received:
                topic = Topic(series.bus, series.topic)
                last[topic] = max(tally.last_received, last.get(topic, 0.0))
        return last

    def _histories(self, now: float) -> Iterator[tuple[Topic, int, "array[int]"]]:
        """Yield each topic with its messages in each hour, from the first on that counts."""
        first = int(now // 3600) + 1 - LEARNED
        histories: dict[Topic, array[int]] = {}
        with self._ledger.read() as tables:
            for week in range(first, first + LEARNED, WEEK):  # so that sorting takes no memory
                for bus, name, hour, messages in tables.hourly_sums.between(week, week + WEEK):
                    if bus in self._buses and name != OTHER:
                        topic = Topic(bus, name)
                        if topic not in histories:
                            histories[topic] = array("L", bytes(array("L").itemsize * LEARNED))
                        histories[topic][hour - first] += messages
        for topic, counts in histories.items():
            yield topic, first, counts

    def _recorded(self) -> dict[Topic, dict[int, float]]:
        recorded: dict[Topic, dict[int, float]] = {}
        with self._ledger.read() as tables:
            for bus, topic, day, expected in tables.pauses.all():
                recorded.setdefault(Topic(bus, topic), {})[day] = expected
        return recorded

    def _write(self, now: float) -> None:
        pauses = [
            Pause(*topic, day, expected)
            for topic, days in self._pauses.items()
            for day, expected in days.items()
        ]
        with self._ledger.write() as tables:
            tables.pauses.add(pauses)
            tables.pauses.prune(now)
        self._pauses = {}

    @contextmanager
    def _logging_problem(self) -> Iterator[None]:
        """Log once that the ledger cannot be used, and go on: it will be tried again."""
        try:
            yield
        except (LedgerWriteError, LedgerError) as error:
            if not self._problem:
                log.warning("ledger: can't learn what is usual: %s", error)
            self._problem = True


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


def _in_step(baselines: Mapping[Topic, Baseline]) -> Iterator[tuple[Topic, Baseline]]:
    """Yield each baseline at its own pace, or at that of its bus where that is slower."""
    paces: dict[str, list[float]] = {}
    for topic, baseline in baselines.items():
        paces.setdefault(topic.bus, []).append(baseline.pace)
    for topic, baseline in baselines.items():
        pace = min(baseline.pace, common_pace(paces[topic.bus]))
        yield topic, replace(baseline, pace=pace)
