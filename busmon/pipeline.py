"""The way of a message: judge, then record. When `record` returns, the batch is on disk."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from busmon.ledger.batch import Observation, Series, last_received
from busmon.ledger.ledger import Ledger, Recorded
from busmon.ledger.tables import Tables
from busmon.message import Judgement, Message
from busmon.rules import RAISES, RuleSet
from busmon.rules.subjects import Subjects

OTHER = "__other__"  # the topic that stands for all unknown topics beyond the limit
RELEASE_SECONDS = 13 * 7 * 86400.0  # without a message; its silence is not watched either
MAX_TOPIC_CHARACTERS = 255  # AMQP allows 255 bytes, MQTT and STOMP far more


class Pipeline:
    """Judges each message by the rule set of its bus, and records messages in batches.

    `rejections` are the judgements that the source of each bus can give by itself.
    After `unknown_topics` distinct topics of a bus that its rules do not know, all others
    are counted as one topic. So a publisher cannot flood /metrics with series.
    `subjects` finds the keys that are recorded of a message.
    """

    def __init__(
        self,
        ledger: Ledger,
        rule_sets: Mapping[str, RuleSet],
        rejections: Mapping[str, Iterable[Judgement]],
        unknown_topics: int,
        observe: Callable[[Recorded], None],
        subjects: Subjects = Subjects(()),  # noqa: B008 - it never changes
    ) -> None:
        self._ledger = ledger
        self._rule_sets = rule_sets
        self._observe = observe
        self._subjects = subjects
        self._unknown_topics = unknown_topics
        self._known = {
            bus: {OTHER, *(topic for topic, _ in rules.known_series())}
            for bus, rules in rule_sets.items()
        }
        for bus, rules in rule_sets.items():
            ledger.declare_series(
                Series(bus, *labels) for labels in _labels(rules, rejections[bus])
            )

    def judge(self, message: Message) -> Observation:
        """Return what is recorded of a message. Its body is not needed any more."""
        judgement = self._rule_sets[message.bus].judge(message)
        return Observation(
            Series(message.bus, self._topic(message), judgement.outcome, judgement.reason),
            message.id,
            message.received_at,
            message.sent_at,
            message.size,
            message.redelivered,
            message.digest_id,
            message.unknown_schema,
            self._subjects.keys(message),
        )

    def check(self) -> None:
        """Write a trial to disk; raises LedgerWriteError if that fails."""
        self._ledger.check_writable()

    def record(self, batch: Sequence[Observation]) -> None:
        """Write a batch to disk; raises LedgerWriteError, and then nothing is written.

        If the clock was set back since a message was received, it was received now.
        """
        now = time.time()
        if any(observation.received_at > now for observation in batch):
            batch = [one._replace(received_at=min(one.received_at, now)) for one in batch]
        self._observe(self._ledger.record(batch, self.fold))

    def fold(self, tables: Tables, batch: Sequence[Observation]) -> Sequence[Observation]:
        """Return the batch with all unknown topics beyond the limit as one.

        This is decided in the transaction that records it, so several busmons decide as one.
        """
        named: dict[str, set[str]] = {}  # unknown topics with series of their own, by bus
        beyond: dict[Series, Series] = {}
        for series in dict.fromkeys(one.series for one in batch):
            bus, topic = series.bus, series.topic
            if topic in self._known[bus]:
                continue
            if bus not in named:
                named[bus] = tables.counters.topics(bus) - self._known[bus]
            if topic in named[bus] or len(named[bus]) < self._unknown_topics:
                named[bus].add(topic)
            else:
                beyond[series] = series._replace(topic=OTHER)
        if not beyond:
            return batch
        return [one._replace(series=beyond.get(one.series, one.series)) for one in batch]

    def release_topics(self, watched: Collection[tuple[str, str]] = ()) -> None:
        """Count the unknown topics that no longer come as one, so that others have their series.

        Not those whose silence is watched: bus and topic. Raises LedgerWriteError.
        """
        received = last_received(self._ledger.counts())
        for bus, known in self._known.items():
            last = {topic: at for (of, topic), at in received.items() if of == bus}
            newest = max(last.values(), default=0.0)
            if self._ledger.floor:  # a clock may have been ahead
                newest = min(newest, self._ledger.floor)
            gone = {
                topic
                for topic in last.keys() - known
                if last[topic] < newest - RELEASE_SECONDS and (bus, topic) not in watched
            }
            if gone:
                self._ledger.merge_topics(bus, gone, OTHER)

    def _topic(self, message: Message) -> str:
        """Return the topic as it is on record."""
        if message.topic in self._known[message.bus]:
            return message.topic
        topic = message.topic.replace("\0", "\\x00")  # which PostgreSQL cannot store
        return topic.encode(errors="backslashreplace").decode()[:MAX_TOPIC_CHARACTERS]


def _labels(rules: RuleSet, rejections: Iterable[Judgement]) -> Iterator[tuple[str, str, str]]:
    """Yield topic, outcome and reason of every series that must exist from the start."""
    always = (*map(rules.unreadable, rejections), RAISES)  # these can happen on every topic
    known = dict.fromkeys(rules.known_series())
    for topic in dict.fromkeys(topic for topic, _ in known):
        known |= dict.fromkeys((topic, judgement) for judgement in always)
    for topic, judgement in known:
        yield topic, judgement.outcome, judgement.reason
