"""The archive as a second witness: whether a message was sent that busmon did not receive.

While a topic of the archive's bus is silent or low, the archive is asked again and again. The
answers are kept in memory. Nothing but the evidence of the verdict depends on them.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from busmon.archive.bound import fitting
from busmon.archive.client import MAX_ROWS, Datagrepper, Found, TooMuch, Unanswered
from busmon.archive.holes import DAY_HOURS, KnownHoles
from busmon.archive.learn_plan import HOUR_SECONDS
from busmon.archive.opinion import (
    MAX_SPAN_SECONDS,
    Comparison,
    Newest,
    Opinion,
    Opinions,
    judge,
    silent_span,
)
from busmon.ledger.batch import last_received
from busmon.ledger.ledger import Ledger
from busmon.silence.blind_time import BlindTime
from busmon.silence.watcher import SilenceWatcher

LOOK_SECONDS = 5.0  # between two looks at the topics
HEARTBEAT_SECONDS = 300.0  # between two questions, at most
REPEAT_SECONDS = 300.0, 3600.0  # after which a question is repeated, at least and at most
REPEAT_SHARE = 0.05  # of the silence, between these two
STALE = 3.0  # an answer is too old after so many times as long
MAX_TOPICS = 30  # that are asked for: those that became quiet last

NOT_YET = "it has not answered yet"


@dataclass(frozen=True, slots=True)
class _Quiet:
    """A topic that is silent, or low."""

    topic: str
    silent: bool
    newest: Newest

    def is_same(self, other: "_Quiet") -> bool:
        """Return whether it is still the same silence, or the same topic is still low."""
        return self == (other if self.silent else replace(other, newest=self.newest))


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the archive said of a topic."""

    asked_at: float
    of: _Quiet
    opinion: Opinion = Opinion()  # noqa: RUF009 - frozen
    comparison: Comparison | None = None

    def is_valid(self, of: _Quiet, now: float, times: float = 1.0) -> bool:
        """Return whether it was asked for this, within so many times the usual interval."""
        shortest, longest = REPEAT_SECONDS
        seconds = min(longest, max(shortest, REPEAT_SHARE * (now - of.newest.received)))
        seconds = shortest if self.opinion.unknown else seconds
        return self.of.is_same(of) and 0 <= now - self.asked_at < times * seconds


class Witness:
    """What the archive says of the silent and low topics of its bus. Any thread may read it.

    `topics` returns the names that the archive can be asked for.
    """

    def __init__(
        self,
        bus: str,
        archive: Datagrepper,
        ledger: Ledger,
        topics: Callable[[], Collection[str]],
        silence: SilenceWatcher,
        blind_time: BlindTime,
    ) -> None:
        self._bus = bus
        self._archive = archive
        self._ledger = ledger
        self._topics = topics
        self._silence = silence
        self._blind_time = blind_time
        self._looked_at: float | None = None
        self._asked_at: float | None = None
        self._quiet: list[_Quiet] = []  # those that became quiet last come first
        self._flowing: list[str] = []
        self._answers: Mapping[str, _Answer] = {}
        self._rows: dict[str, int] = {}  # to ask for, of topics with long messages
        self._holes = KnownHoles()
        self._problem = NOT_YET

    def step(self, now: float) -> bool:
        """See Job."""
        self._look(now)
        due = self._due(now)
        if due is None and 0 <= now - (self._asked_at or 0.0) < HEARTBEAT_SECONDS:
            return False
        settled = self._archive.settled(now)
        if due is None and settled is not None:
            return False  # another job has just asked
        self._asked_at = now
        try:
            if settled is None:
                self._archive.ask_settled(now)
            elif due and not self._check(due, settled, now):
                # If this fails, the other topics come first.
                self._keep(_Answer(now, due, Opinion(unknown="it did not answer for this topic")))
                self._ask(due, settled, now)
        except Unanswered as error:
            self._problem, self._asked_at = str(error), None
            raise
        self._problem = NOT_YET
        return True

    def opinions(self, bus: str, now: float) -> Opinions:
        """Return what the archive says of the topics of a bus, from memory."""
        if bus != self._bus:
            return Opinions()
        answers, quiet = self._answers, self._quiet
        silent, low = dict[str, Opinion](), dict[str, Comparison]()
        for one in quiet:
            answer = answers.get(one.topic)
            if answer is None or not answer.is_valid(one, now, STALE):
                answer = _Answer(now, one, Opinion(unknown=self._problem))
            if one.silent:
                silent[one.topic] = answer.opinion
            elif answer.comparison:
                low[one.topic] = answer.comparison
        return Opinions(silent, low)

    def _look(self, now: float) -> None:
        """See which topics are quiet."""
        if self._looked_at is not None and 0 <= now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        states = {
            topic.name: state
            for topic, state in self._silence.states(now).items()
            if topic.bus == self._bus
        }
        # Of a topic that never came, what was sent since busmon has waited for it.
        newest = {
            topic: Newest(state.awaited)
            for topic, state in states.items()
            if state.silent and state.awaited is not None
        } | self._newest()
        askable = [topic for topic in self._topics() if topic in newest and topic in states]
        quiet = [
            _Quiet(topic, states[topic].silent, newest[topic])
            for topic in askable
            if states[topic].silent or states[topic].low
        ]
        quiet.sort(key=lambda one: one.newest.received, reverse=True)
        self._quiet = quiet[:MAX_TOPICS]
        flows = [t for t in askable if states[t].ready and not (states[t].silent or states[t].low)]
        self._flowing = flows
        names = {one.topic for one in self._quiet}
        self._answers = {topic: one for topic, one in self._answers.items() if topic in names}

    def _newest(self) -> dict[str, Newest]:
        """Return what is known of the newest message of each topic."""
        counts = self._ledger.counts()
        sent: dict[str, float] = {}
        for series, count in counts.items():
            if series.bus == self._bus and count.last_sent is not None:
                sent[series.topic] = max(count.last_sent, sent.get(series.topic, 0.0))
        received = last_received(counts).items()
        return {
            topic: Newest(at, sent.get(topic)) for (bus, topic), at in received if bus == self._bus
        }

    def _due(self, now: float) -> _Quiet | None:
        """Return the topic that was not asked for the longest; None if it is not yet time."""
        if not self._blind_time.reception(self._bus).receiving:
            return None  # why nothing comes is known
        answers = [(self._answers.get(one.topic), one) for one in self._quiet]
        due = [
            (answer.asked_at if answer else 0.0, one)
            for answer, one in answers
            if answer is None or not answer.is_valid(one, now)
        ]
        return min(due, key=lambda pair: pair[0])[1] if due else None

    def _check(self, quiet: _Quiet, settled: float, now: float) -> bool:
        """Ask for other topics, if that is due for a silent one; return whether it was."""
        span = silent_span(quiet.newest, settled, now)
        if not self._flowing or not quiet.silent or isinstance(span, str):
            return False
        return self._holes.ask(
            span.since, settled, now, lambda until: self._compare(self._flowing, until)
        )

    def _ask(self, quiet: _Quiet, settled: float, now: float) -> None:
        if not quiet.silent:
            compared = self._compare([quiet.topic], int(settled // HOUR_SECONDS))
            self._keep(_Answer(now, quiet, comparison=compared))
            return
        span = silent_span(quiet.newest, settled, now)
        if isinstance(span, str):
            self._keep(_Answer(now, quiet, Opinion(unknown=span)))
            return
        found = self._search(quiet.topic, int(span.since), int(span.until))
        if found is None:
            self._answers = {t: one for t, one in self._answers.items() if t != quiet.topic}
            return
        with self._ledger.read() as tables:
            known = tables.messages.known(self._bus, [one.id for one in found.messages])
        blind = self._blind_time.reception(self._bus).blind_between(now - MAX_SPAN_SECONDS, now)
        opinion = judge(span.since, found, known, blind)
        if opinion.confirms and self._flowing:
            opinion = replace(opinion, unknown=self._holes.within(span.since, settled))
        self._keep(_Answer(now, quiet, opinion))

    def _search(self, topic: str, since: int, until: int) -> Found | None:
        """Return the newest messages of a topic; None: ask again, for less."""
        rows = self._rows.get(topic, MAX_ROWS)
        try:
            return self._archive.search([topic], since, until, rows)
        except TooMuch:
            if rows == 1:
                raise
            self._rows[topic] = rows // 2
            return None

    def _compare(self, topics: Collection[str], end: int) -> Comparison:
        """Return what the archive and the ledger have of these topics, in 24 hours before one."""
        first = end - DAY_HOURS
        few = fitting(topics)
        span = first * HOUR_SECONDS, end * HOUR_SECONDS
        archive = self._archive.search(few, *span, rows=1).total
        with self._ledger.read() as tables:
            sums = tables.hourly_sums.between(first, end)
            ours = sum(one.messages for one in sums if one.bus == self._bus and one.topic in few)
        return Comparison(float(span[0]), archive, ours)

    def _keep(self, answer: _Answer) -> None:
        self._answers = {**self._answers, answer.of.topic: answer}
