"""Finds messages by what they are about, by series and by time: the newest first, part by part.

However large the ledger is, one search reads a bounded part of it, and says where to go on.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from busmon.ledger.connection import Connection, places
from busmon.ledger.parts import NO_END, SeriesParts, Span
from busmon.ledger.subjects import BLOCK, Subjects, block_of
from busmon.ledger.values import milliseconds, seconds, shown_id, stored_id

MAX_SCANS = 60  # blocks of which messages are read; each has some thousand
MAX_BLOCKS = 2_000  # 8 million messages
SLACK_SECONDS = 600  # messages are recorded in the order of their receipt, but for this

SERIES = "SELECT series.id, name, topic, outcome, reason FROM series JOIN buses ON buses.id = bus"
ROWS = """
SELECT messages.seq, name, messages.id, topic, outcome, reason, received_at, sent_at,
    coalesce(keys, '')
FROM messages JOIN series ON series.id = messages.series JOIN buses ON buses.id = messages.bus
LEFT JOIN subjects ON subjects.seq = messages.subject
"""
OF_ID = f"""{ROWS} WHERE messages.id = ? AND received_at >= ? AND received_at < ? {{series}}
ORDER BY messages.seq DESC LIMIT ?"""
OF_NUMBERS = f"{ROWS} WHERE messages.seq IN ({{numbers}}) ORDER BY messages.seq DESC"
OF_SETS = """
SELECT seq FROM messages WHERE seq >= ? AND seq < ? AND received_at >= ? AND received_at < ?
    AND subject IN ({sets}) {series} ORDER BY seq DESC LIMIT ?
"""
OF_ALL = """
SELECT seq FROM messages WHERE seq >= ? AND seq < ? AND +received_at >= ? AND +received_at < ?
ORDER BY seq DESC LIMIT ?
"""


class Criteria(NamedTuple):
    """Which messages are looked for; None and nothing: all."""

    words: tuple[tuple[str, ...], ...] = ()  # a message has one of the keys of each word
    bus: str | None = None
    topic: str | None = None  # or its last parts
    outcome: str | None = None
    reason: str | None = None
    since: float | None = None  # Unix times of receipt
    until: float | None = None


class Hit(NamedTuple):
    """A message that was found; Unix times."""

    seq: int
    bus: str
    id: str
    topic: str
    outcome: str
    reason: str
    received_at: float
    sent_at: float | None
    keys: tuple[str, ...]


class Found(NamedTuple):
    """A part of what there is."""

    hits: list[Hit]
    before: int | None = None  # search before this message to go on; None: there is no more


class Search:
    """Searches, each of which looks at so many blocks, and reads the messages of so many."""

    def __init__(self, db: Connection, scans: int = MAX_SCANS, blocks: int = MAX_BLOCKS) -> None:
        self._db = db
        self._scans, self._blocks = scans, blocks
        self._subjects = Subjects(db)

    def by_id(self, identity: str, criteria: Criteria, limit: int) -> list[Hit]:
        """Return the messages that have an id, one of each bus; words do not matter."""
        series, span = self._series(criteria), self._span(criteria, None)
        if series == []:
            return []
        query = OF_ID.format(series=_and_series(series))
        values = stored_id(identity), span.since, span.until, *(series or ()), limit
        return [_hit(*row) for row in self._db.execute(query, values)]

    def find(self, criteria: Criteria, limit: int, before: int | None = None) -> Found:
        """Return at most `limit` messages, the newest first, that were recorded before one."""
        span = self._span(criteria, before)
        series = self._series(criteria)
        if series == [] or not all(criteria.words):
            return Found([])
        if criteria.words:
            numbers, end = self._about(criteria.words, series, span, limit + 1)
        else:
            numbers, end = self._of(series, span, limit + 1), None
        if len(numbers) > limit:
            end = numbers[limit - 1]
        return Found(self._rows(numbers[:limit]), end)

    def _about(
        self,
        words: Sequence[Sequence[str]],
        series: Sequence[int] | None,
        span: Span,
        limit: int,
    ) -> tuple[list[int], int | None]:
        """Return messages with these keys, and where to go on if there was too much to read."""
        numbers: list[int] = []
        scans, oldest = 0, self._subjects.first()
        if oldest is None:
            return [], None
        first = max(span.first, oldest)
        begin = max(first, (block_of(span.end - 1) - self._blocks + 1) * BLOCK)
        for block in self._subjects.blocks(begin, span.end, words):
            if scans == self._scans:
                return numbers, (block + 1) * BLOCK
            if not (sets := self._subjects.find(block, words)):
                continue
            scans += 1
            query = OF_SETS.format(sets=places(sets), series=_and_series(series))
            within = max(span.first, sets[0]), min(span.end, (block + 1) * BLOCK)
            rows = self._db.execute(
                query,
                (*within, span.since, span.until, *sets, *(series or ()), limit - len(numbers)),
            )
            numbers += (seq for (seq,) in rows)
            if len(numbers) == limit:
                return numbers, None
        return numbers, begin if begin > first else None

    def _of(self, series: Sequence[int] | None, span: Span, limit: int) -> list[int]:
        """Return the newest messages of these series."""
        if series is not None:
            return SeriesParts(self._db).newest(series, limit, span)
        return [seq for (seq,) in self._db.execute(OF_ALL, (*span, limit))]

    def _rows(self, numbers: Sequence[int]) -> list[Hit]:
        query = OF_NUMBERS.format(numbers=places(numbers))
        return [_hit(*row) for row in self._db.execute(query, numbers)]

    def _series(self, criteria: Criteria) -> list[int] | None:
        """Return the numbers of the series that match; None: all do."""
        wanted = criteria.bus, criteria.topic, criteria.outcome, criteria.reason
        if wanted == (None,) * 4:
            return None
        bus, topic, *judgement = wanted
        return [
            number
            for number, its_bus, its_topic, *its in self._db.execute(SERIES)
            if bus in {None, its_bus}
            and (
                topic is None
                or its_topic == topic
                or its_topic.endswith((f".{topic}", f"/{topic}"))
            )
            and all(one in {None, other} for one, other in zip(judgement, its, strict=True))
        ]

    def _span(self, criteria: Criteria, before: int | None) -> Span:
        since = 0 if criteria.since is None else milliseconds(criteria.since) or 0
        until = milliseconds(criteria.until) or NO_END
        (newest,) = self._db.execute("SELECT coalesce(max(seq), 0) FROM messages").fetchone()
        first = self._from(since - 1000 * SLACK_SECONDS) if since else 0
        end = self._from(until + 1000 * SLACK_SECONDS) if until < NO_END else None
        end = newest + 1 if end is None else end
        return Span(
            newest + 1 if first is None else first,
            end if before is None else min(end, before),
            since,
            until,
        )

    def _from(self, at: int) -> int | None:
        """Return the number of the first message received since then."""
        query = "SELECT seq FROM messages WHERE received_at >= ? ORDER BY received_at LIMIT 1"
        found = self._db.execute(query, (at,)).fetchone()
        return found and int(found[0])


def _and_series(numbers: Sequence[int] | None) -> str:
    return "" if numbers is None else f"AND messages.series IN ({places(numbers)})"


def _hit(*row: Any) -> Hit:
    seq, bus, identity, topic, outcome, reason, received, sent, keys = row
    known = bus, shown_id(identity), topic, outcome, reason, received / 1000, seconds(sent)
    return Hit(seq, *known, tuple(filter(None, keys.split("\n"))))
