"""The way of a message: judge, record. When `record` returns, the batch is on disk."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from busmon.ledger.batch import Observation, Series
from busmon.ledger.ledger import Ledger, Recorded
from busmon.message import Judgement, Message
from busmon.rules import RAISES, RuleSet

OTHER = "__other__"  # the topic under which unknown ones beyond the limit are counted
LONGEST_TOPIC = 255  # characters; AMQP allows 255 bytes, MQTT and STOMP far more


class Pipeline:
    """Judges each message by its bus's rule book, and records batches of them.

    `rejections` are what each bus's source can say of a message that has no body.
    Beyond `unknown_topics` distinct topics of a bus that its rules do not know, further
    ones are counted under one name, so that a publisher can't flood /metrics with series.
    """

    def __init__(
        self,
        ledger: Ledger,
        books: Mapping[str, RuleSet],
        rejections: Mapping[str, Iterable[Judgement]],
        unknown_topics: int,
        observe: Callable[[Recorded], None],
    ) -> None:
        self._ledger = ledger
        self._books = books
        self._observe = observe
        self._unknown_topics = unknown_topics
        self._known = {
            bus: {topic for topic, _ in book.known_series()} for bus, book in books.items()
        }
        self._unknown = {bus: set[str]() for bus in books}
        for series in ledger.counts():
            if series.bus in books and series.topic not in {OTHER, *self._known[series.bus]}:
                self._unknown[series.bus].add(series.topic)
        for bus, book in books.items():
            ledger.declare_series(Series(bus, *labels) for labels in _labels(book, rejections[bus]))

    def judge(self, message: Message) -> Observation:
        """Return what is to be recorded of a message; its body is needed no longer."""
        verdict = self._books[message.bus].judge(message)
        return Observation(
            Series(message.bus, self._folded(message), verdict.outcome, verdict.reason),
            message.id,
            message.received_at,
            message.sent_at,
            message.size,
            message.redelivered,
            message.digest_id,
        )

    def record(self, batch: Sequence[Observation]) -> None:
        """Put a batch on disk; raises LedgerWriteError where it is not."""
        self._observe(self._ledger.record(batch))

    def _folded(self, message: Message) -> str:
        unknown = self._unknown[message.bus]
        if message.topic in self._known[message.bus] or message.topic in unknown:
            return message.topic
        topic = message.topic.encode(errors="backslashreplace").decode()[:LONGEST_TOPIC]
        if topic not in unknown and len(unknown) >= self._unknown_topics:
            topic = OTHER
        else:
            unknown.add(topic)
        return topic


def _labels(book: RuleSet, rejections: Iterable[Judgement]) -> Iterator[tuple[str, str, str]]:
    """Yield topic, outcome and reason of every series that must exist from the start."""
    always = (*rejections, RAISES)
    known = dict.fromkeys(book.known_series())
    for topic in dict.fromkeys(topic for topic, _ in known):
        known |= dict.fromkeys((topic, verdict) for verdict in always)
    for topic, verdict in known:
        yield topic, verdict.outcome, verdict.reason
