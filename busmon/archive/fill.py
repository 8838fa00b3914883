"""Fills blind times: what the archive has of them, and busmon did not receive.

Each message is judged as if busmon had received it when it was sent, and entered into the audit.
It is counted by itself, and in no counter but the audit's. A transaction records the messages of
an answer, counts them, enters them, and moves the time up to which the archive was read. So a
crash at any moment counts nothing twice, and leaves nothing out.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from prometheus_client.core import Metric

from busmon.archive import fill_plan
from busmon.archive.backlog import has_caught_up
from busmon.archive.bound import BoundTopics
from busmon.archive.client import MAX_ROWS, Datagrepper, Stored, TooMuch, Unanswered
from busmon.archive.fill_plan import Question, Taken
from busmon.audit.filled import enter
from busmon.audit.scope import Scope
from busmon.ledger.batch import Observation
from busmon.ledger.filled import Fill, FillState
from busmon.ledger.ledger import Ledger
from busmon.ledger.tables import Tables
from busmon.ledger.values import UUID_TEXT, Interval
from busmon.metrics.families import counter, gauge
from busmon.pipeline import Pipeline
from busmon.settings.audit import Audit
from busmon.sources.recorded.format import Format
from busmon.sources.recorded.reader import read
from busmon.text import format_number, format_span

HISTORY_LINES = 10

log = logging.getLogger(__name__)


class Filling(NamedTuple):
    """The bus whose blind times are filled, and what becomes of its messages."""

    bus: str
    bound: BoundTopics
    pipeline: Pipeline
    scope: Scope
    audit: Audit
    retention: float  # seconds
    on_filled: Callable[[], None]  # called after messages were entered into the audit


@dataclass(slots=True)
class _Reading:
    """The blind time that is being read."""

    fill: Fill
    part: int  # up to here it is known that the archive was not away
    question: Question | None = None  # the next one, if it is not the usual one


class BlindTimeFiller:
    """Fills the blind times of one bus, the oldest first. Any thread may read how far it is.

    Raises LedgerError if the ledger cannot be read.
    """

    def __init__(self, archive: Datagrepper, ledger: Ledger, filling: Filling) -> None:
        self._archive = archive
        self._ledger = ledger
        self._filling = filling
        self._reading: _Reading | None = None
        self._oldest = 0  # Unix time, before which nothing is filled
        self._began = 0.0  # Unix time of the first message of this bus
        self._failures: dict[float, int] = {}  # in a row, by the beginning of a blind time
        with ledger.read() as tables:
            self._load(tables)

    def step(self, now: float) -> bool:
        """See Job."""
        if (fill := self._next(now)) is None:
            return False
        settled = self._archive.settled(now)
        if settled is None:
            self._archive.ask_settled(now)
            return True
        if settled < fill_plan.end(fill):
            return False
        try:
            self._read_on(fill)
        except Unanswered:
            self._failures[fill.since] = self._failures.get(fill.since, 0) + 1
            raise
        self._failures.pop(fill.since, None)
        return True

    def history(self) -> list[str]:
        """Return a line for each of the last blind times."""
        return [self._describe(fill) for fill in self._fills[-HISTORY_LINES:]]

    def collect(self) -> Iterator[Metric]:
        """Yield what was filled; every series of the bus exists from the start."""
        bus = self._filling.bus
        known = {(one.topic, one.outcome) for one in self._ledger.counts() if one.bus == bus}
        totals = dict.fromkeys(sorted(known), 0) | dict(self._totals)
        yield counter(
            "busmon_archive_filled_messages_total",
            "Messages of blind times that only the archive had; only the audit counts them, too.",
            ["bus", "topic", "outcome"],
            [((bus, *labels), messages) for labels, messages in totals.items()],
        )
        seconds = dict.fromkeys(FillState, 0.0)
        for fill in self._fills:
            seconds[fill.state] += fill.until - fill.since
        yield gauge(
            "busmon_archive_blind_seconds",
            "Length of the blind times on record, by what the archive has of them.",
            ["bus", "state"],
            [((bus, state), length) for state, length in seconds.items()],
        )

    def _describe(self, fill: Fill) -> str:
        span = f"{self._filling.bus}: blind time {format_span(fill.since, fill.until)}"
        if fill.state is FillState.WAITING:
            return f"{span}: the archive has not been asked for all of it yet"
        if fill.state is FillState.NOT:
            return f"{span}: the archive has nothing of it"
        how = "filled" if fill.state is FillState.FILLED else "filled in part"
        return f"{span}: {how} from the archive, {format_number(fill.messages, 'message')}"

    def _load(self, tables: Tables) -> None:
        bus = self._filling.bus
        self._fills: Sequence[Fill] = tables.filled.fills(bus)
        self._totals: Mapping[tuple[str, str], int] = tables.filled.totals(bus)

    def _next(self, now: float) -> Fill | None:
        """Return the blind time to read next, if there is one and it is time for that."""
        bus = self._filling.bus
        with self._ledger.read() as tables:
            known_since = max(now - self._filling.retention, tables.filled.complete_since(bus, now))
            self._oldest = math.ceil(known_since + fill_plan.MARGIN_SECONDS)
            self._began = tables.filled.first_received(bus) or now
            blind = tables.blind_times.between(bus, 0.0, now)
            # What a queue kept comes by itself.
            caught_up = has_caught_up(tables, bus, now)
            due = (tables.windows.closed_until() or 0.0) if caught_up else 0.0
            self._load(tables)
        changed, gone = fill_plan.changes(self._fills, blind, self._oldest)
        if changed or gone:
            with self._ledger.write() as tables:
                tables.filled.forget(bus, gone)
                tables.filled.save(bus, changed)
                self._load(tables)
        waiting = (
            one
            for one in self._fills
            if one.state is FillState.WAITING and fill_plan.end(one) <= due
        )
        return min(waiting, key=lambda one: self._failures.get(one.since, 0), default=None)

    def _read_on(self, fill: Fill) -> None:
        """Ask one question of a blind time, and write what it brings."""
        reading = self._reading
        if reading is None or reading.fill != fill:
            reading = self._reading = _Reading(fill, fill_plan.begin(fill, self._began))
        since, end = fill_plan.begin(fill, self._began), fill_plan.end(fill)
        if since < self._oldest:  # of then it is not known what was received
            self._advance(reading, since, Taken([], min(self._oldest, end), complete=False))
        elif reading.part <= since:
            until = min(end, since + fill_plan.PART_SECONDS)
            if total := self._archive.search([], since, until, rows=1).total:
                reading.fill, reading.part = fill._replace(seen=fill.seen + total), until
                self._write(reading.fill)
            else:  # it was away itself
                self._advance(reading, since, Taken([], until, complete=False))
        else:
            self._read(reading, reading.question or Question(since, reading.part))

    def _read(self, reading: _Reading, asked: Question) -> None:
        reading.question = fill_plan.shorter(asked)  # unless it is answered
        try:
            found = self._archive.search(
                *(self._filling.bound.to_ask, asked.since, asked.until, asked.rows),
                oldest_first=True,
                content=True,
            )
        except TooMuch:
            reading.question = fill_plan.smaller(asked)
            if reading.question is None:
                self._advance(reading, asked.since, Taken([], asked.until, complete=False))
            return
        if (taken := fill_plan.take(asked, found)) is None:
            reading.question = fill_plan.crowded(asked)
        else:
            self._advance(reading, asked.since, taken)

    def _advance(self, reading: _Reading, since: int, taken: Taken) -> None:
        """Write what an answer brings, and up to where the archive was read."""
        fill, span = reading.fill, Interval(since, taken.reached)
        whole = taken.complete and not self._lacks(fill, span, taken.messages)
        observations = list(self._judged(taken.messages, since))
        parts = [observations[at : at + MAX_ROWS] for at in range(0, len(observations), MAX_ROWS)]
        for part in parts[:-1]:  # a transaction must be short
            fill = self._write(fill, part)
        fill = fill._replace(reached=taken.reached, holes=fill.holes + (not whole))
        if taken.reached >= fill_plan.end(fill):
            fill = fill_plan.finished(fill)
        fill = self._write(fill, *parts[-1:])
        if fill.messages > reading.fill.messages:
            self._filling.on_filled()
        reading.fill, reading.question = fill, None
        if fill.state is not FillState.WAITING:
            log.info("archive: %s", self._describe(fill))

    def _write(self, fill: Fill, observations: Sequence[Observation] = ()) -> Fill:
        """Write a blind time with some messages of it; return it with the number of new ones."""
        bus, scope, audit = self._filling.bus, self._filling.scope, self._filling.audit
        with self._ledger.write() as tables:
            last = tables.messages.last()
            new = tables.filled.add(self._filling.pipeline.fold(tables, observations))
            fill = fill._replace(messages=fill.messages + new)
            if new:
                enter(tables, bus, scope, audit, list(tables.messages.recorded(bus, last)))
            tables.filled.save(bus, [fill])
        return fill

    def _lacks(self, fill: Fill, sent: Interval, messages: Sequence[Stored]) -> bool:
        """Return whether the archive lacks a message that busmon received just before or after."""
        near = Interval(fill.since - fill_plan.NEAR_SECONDS, fill.until + fill_plan.NEAR_SECONDS)
        with self._ledger.read() as tables:
            received = tables.filled.received(self._filling.bus, sent, near)
        stored = {one.id for one in messages}
        return any(
            UUID_TEXT.fullmatch(identity) and self._filling.bound.has(topic)
            for identity, topic in received.items()
            if identity not in stored
        )

    def _judged(self, messages: Sequence[Stored], since: float) -> Iterator[Observation]:
        """Yield what is recorded of messages; one without a time was sent `since` then."""
        bus, bound, pipeline, *_ = self._filling
        found = [one for one in messages if bound.has(one.topic)]
        lines = read((one.content for one in found), self._archive.name, bus)
        for stored, line in zip(found, lines, strict=True):
            at = since if stored.sent_at is None else stored.sent_at
            message = line.message._replace(received_at=at, sent_at=stored.sent_at)
            if line.format is not Format.FEDORA:  # busmon cannot read it
                message = message._replace(id=stored.id, topic=stored.topic)
            yield pipeline.judge(message)
