"""Whose fault it is just now: gathers what the parts of the service know, and has it judged.

A thread of its own looks every few seconds; /metrics, the page and /v1/status show what it
saw last. Everything is read from memory, so that a full disk or a dead broker does not
hold it up.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from prometheus_client.core import Metric

from busmon.audit.auditor import Auditor
from busmon.diagnosis.history import History
from busmon.diagnosis.verdict import (
    BusFacts,
    Facts,
    FaultKind,
    Health,
    Queue,
    SilentTopic,
    StageCounts,
    Verdict,
    diagnose,
)
from busmon.ledger.batch import Count, Series
from busmon.ledger.ledger import Ledger
from busmon.message import Outcome, Stage
from busmon.metrics.families import gauge
from busmon.observers.base import Observer
from busmon.observers.celery import CeleryObserver
from busmon.observers.ready import ReadyObserver
from busmon.settings.audit import Audit
from busmon.silence.baseline import State
from busmon.silence.blind_time import BlindTime
from busmon.silence.watcher import SilenceWatcher, Topic
from busmon.sources.base import Cause, ConnectionState
from busmon.threads import Threads

LOOKING = 2.0  # seconds between two looks
STALE = 60.0  # seconds without a look, after which its verdict is nothing worth
FIRST = 60.0  # seconds after the start within which what was never heard of may yet come
FATAL = 86400.0  # seconds for which a message that kills a listener explains that one is dead
WINDOWS = 3  # so many windows of the audit are held against somebody
STALLED = 300.0  # seconds without any message at the listener while the bus brings some
DELAY = 60.0  # seconds within which what the bus brings may still be on its way to the listener
GROWING = 200.0  # seconds: of three such spans a queue is longer in all of the third
# than at any time in the first
IDLE = 1200.0  # seconds in which workers do some task, where any waits
FAILING = 1800.0  # seconds in which tasks failed of late

OWN = (f"{Cause.LEDGER}:", f"{Cause.ERROR}:")  # what busmon itself does to a connection

log = logging.getLogger(__name__)

Watch = TypeVar("Watch", bound=Observer)


class VerdictWatcher:
    """Looks at the parts of a service, from a thread of its own. Any thread may ask."""

    def __init__(  # noqa: PLR0913, PLR0917 - one for each part that it looks at
        self,
        audit: Audit,
        ledger: Ledger,
        connections: Mapping[str, ConnectionState],
        blind: BlindTime,
        silence: SilenceWatcher,
        observers: Sequence[Observer],
        auditor: Auditor,
        threads: Threads,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._connections = connections
        self._blind = blind
        self._silence = silence
        self._observers = observers
        self._auditor = auditor
        self._threads = threads
        self._clock = clock
        self._started = clock()
        asked = [2.0 * o.interval for o in observers if isinstance(o, ReadyObserver)]
        self._delay = max([DELAY, *asked])
        self._heard: set[Observer] = set()
        span = WINDOWS * audit.window + audit.grace
        self._sums = {bus: History[Counter[str]](span) for bus in connections}
        self._handled = {bus: History[int](STALLED + 2 * self._delay) for bus in connections}
        self._received = {
            bus: History[int | None](STALLED + 2 * self._delay) for bus in connections
        }
        self._lengths: dict[str, History[int]] = {}
        self._tasks = {bus: History[tuple[bool, Counter[str]]](FAILING) for bus in connections}
        self._fault = Verdict(FaultKind.NONE, "", ())
        self.refresh()

    def run(self, stopping: threading.Event) -> None:
        """Look until `stopping`, and log each change of the verdict."""
        told = FaultKind.NONE, ""
        while not stopping.wait(LOOKING):
            self.refresh()
            kind, bus, evidence = self._fault
            if (kind, bus) != told:
                told = kind, bus
                level = logging.INFO if kind is FaultKind.NONE else logging.WARNING
                log.log(level, "verdict: %s: %s", kind, "; ".join(evidence[:1]))

    def verdict(self) -> Verdict:
        """Return the latest verdict, at most a few seconds old."""
        if died := self._threads.problem():
            return diagnose(Facts(problem=died))
        if self._clock() - self._looked > STALE:
            why = f"its own watch did not look for more than {STALE:g} s; the log may say why"
            return diagnose(Facts(problem=why))
        return self._fault

    def collect(self) -> Iterator[Metric]:
        """Yield the metric of the verdict."""
        found = self.verdict().kind
        yield gauge(
            "busmon_verdict",
            "Whose fault it is, as far as busmon can tell: exactly one kind is 1, none if all is"
            " well. /v1/status and the page give the evidence.",
            ["kind"],
            (((kind,), kind is found) for kind in FaultKind),
        )

    def refresh(self) -> None:
        """Gather the facts and judge."""
        now = self._clock()
        tallies, states = self._ledger.counts(), self._silence.states(now)
        buses = tuple(
            self._bus(bus, now, _seen(bus, tallies, now), _of(bus, states))
            for bus in self._connections
        )
        self._fault = diagnose(Facts(problem=self._ledger.problem(), buses=buses))
        self._looked = now

    def _bus(self, bus: str, now: float, seen: "_Seen", states: Mapping[str, State]) -> BusFacts:
        self._handled[bus].add(now, seen.handled)
        problem = self._connections[bus].problem()
        usual = [state for state in states.values() if state.ready and not state.silent]
        owed = [state.expected for state in usual if state.expected is not None]
        listener = self._observer(bus, ReadyObserver)
        celery = self._observer(bus, CeleryObserver)
        tap = next((o for o in self._observers if (o.kind, o.bus) == ("tap", bus)), None)
        stages = self._stages(bus, now)
        done, idle = self._done(bus, celery, now)
        return BusFacts(
            name=bus,
            problem=problem,
            own_problem=(problem or "").startswith(OWN),
            last=now - max(seen.last.values()) if seen.last else None,
            silent=tuple(_silent(states, seen.last, now)),
            flowing=len(usual),
            owed=sum(owed) if owed else None,
            unlearned=sum(
                topic in seen.last and not state.ready and not state.silent
                for topic, state in states.items()
            ),
            monitor=self._monitor(listener, now) if listener else None,
            stalled=self._stalled(bus, listener, now) if listener else None,
            tap=self._sign(tap, "no report for half a minute", now) if tap else None,
            listener=stages.get(Stage.LISTENER),
            fatal=tuple(sorted(seen.fatal)),
            celery=self._sign(celery, celery.problem() or "", now) if celery else None,
            workers=stages.get(Stage.WORKER),
            queues=tuple(self._queues(celery.lengths(), now, idle)) if celery else (),
            failed=done["failed"],
            succeeded=done["succeeded"],
        )

    def _observer(self, bus: str, kind: type[Watch]) -> Watch | None:
        return next((o for o in self._observers if isinstance(o, kind) and o.bus == bus), None)

    def _sign(self, observer: Observer, problem: str, now: float) -> Health:
        if observer.up():
            self._heard.add(observer)
            return Health(True)
        if observer not in self._heard and now - self._started < FIRST:
            return Health(None, problem)
        return Health(False, problem)

    def _monitor(self, listener: ReadyObserver, now: float) -> Health:
        sign = self._sign(listener, listener.problem() or "", now)
        if sign.up and not listener.consuming():
            return Health(False, "it answers that it is not consuming")
        return sign

    def _stalled(self, bus: str, listener: ReadyObserver, now: float) -> int | None:
        """Return how many messages the bus brought for a listener that received none meanwhile.

        Not known where one of both was not seen all the time; and what busmon gets after a
        blind time, the listener got long before.
        """
        self._received[bus].add(now, listener.received() if listener.up() else None)
        start = now - STALLED - self._delay
        received = self._received[bus].between(start, now)
        before, lately = (self._handled[bus].at(at) for at in (start, now - self._delay))
        if received is None or None in received or before is None or lately is None:
            return None
        if self._blind.sight(bus).blind_between(start - STALLED, now):
            return None
        return lately - before if len(set(received)) == 1 else 0

    def _stages(self, bus: str, now: float) -> dict[Stage, StageCounts]:
        """Return what the windows closed of late come to, at each stage that is audited."""
        counts: Counter[str] = Counter()
        for (of, _, place), sums in self._auditor.sums().items():
            if of == bus:
                for name, number in sums._asdict().items():
                    counts[f"{place} {name}"] += number
        self._sums[bus].add(now, counts)
        news = counts - (self._sums[bus].oldest() or Counter())
        return {
            place: StageCounts(
                expected=news[f"{place} messages"] + news[f"{place} missing"],
                missing=max(0, news[f"{place} missing"] - news[f"{place} recovered"]),
                unexpected=news[f"{place} unexpected"],
            )
            for place in (Stage.LISTENER, Stage.WORKER)
            if any(news[f"{place} {name}"] for name in ("messages", "missing", "unexpected"))
        }

    def _done(
        self, bus: str, celery: CeleryObserver | None, now: float
    ) -> tuple[Counter[str], bool]:
        """Return the events of tasks of late, and whether there was surely none for `IDLE`."""
        if celery is None:
            return Counter(), False
        recent, state = self._tasks[bus], (celery.up(), celery.events())
        recent.add(now, state)
        before = recent.oldest() or state
        return state[1] - before[1], state[0] and recent.between(now - IDLE, now) == [state]

    def _queues(self, lengths: Mapping[str, int], now: float, idle: bool) -> Iterator[Queue]:
        """Yield the queues, and by how much each is longer than it was at any time before."""
        for name, length in lengths.items():
            recent = self._lengths.setdefault(name, History(IDLE))
            recent.add(now, length)
            stuck = idle and min(recent.between(now - IDLE, now) or [0]) > 0
            earlier = recent.between(now - 3 * GROWING, now - 2 * GROWING)
            later = recent.between(now - GROWING, now)
            grown = min(later) - max(earlier) if earlier and later else 0
            yield Queue(name, length, grown, IDLE if stuck else 0.0)


class _Seen(NamedTuple):
    """What the tallies say of one bus."""

    last: dict[str, float]  # Unix time of the newest message, by topic
    handled: int  # messages that are for the listener
    fatal: set[str]  # topics of which came of late what can kill the listener


def _seen(bus: str, tallies: Mapping[Series, Count], now: float) -> _Seen:
    last: dict[str, float] = {}
    handled, fatal = 0, set()
    for series, tally in tallies.items():
        if series.bus != bus or tally.last_received is None:
            continue
        last[series.topic] = max(tally.last_received, last.get(series.topic, 0.0))
        if series.outcome == Outcome.HANDLED:
            handled += tally.messages
        if series.outcome == Outcome.ERROR and tally.last_received > now - FATAL:
            fatal.add(series.topic)
    return _Seen(last, handled, fatal)


def _of(bus: str, states: Mapping[Topic, State]) -> dict[str, State]:
    return {topic.name: state for topic, state in states.items() if topic.bus == bus}


def _silent(
    states: Mapping[str, State], last: Mapping[str, float], now: float
) -> Iterator[SilentTopic]:
    for topic, state in states.items():
        if state.silent and topic in last:
            learned = (state.expected or 0.0) > (state.limit or 0.0)
            numbers = (state.expected, state.limit) if learned else (None, None)
            yield SilentTopic(topic, now - last[topic], *numbers)
