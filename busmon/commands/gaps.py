"""`busmon gaps`: find what is missing, by window and stage, and how to consume it again."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple
from uuid import UUID

from busmon.config.model import Config
from busmon.ledger.tables import Tables
from busmon.ledger.windows import WindowRow
from busmon.message import Stage
from busmon.text import printable

Commands = Mapping[str, str | None]  # by bus


class Query(NamedTuple):
    """What to look for. None stands for every bus or topic."""

    since: float  # Unix time: windows that ended later
    bus: str | None = None
    topic: str | None = None
    unconfirmed: bool = False  # also list the unconfirmed messages, not only count them


class MissingMessage(NamedTuple):
    """A message that is or may be missing."""

    id: str
    reconsume: str | None  # the command that makes the listener consume it again


@dataclass(frozen=True, slots=True)
class Gap:
    """What is missing at one stage of one topic's messages in one window; Unix times."""

    start: float
    until: float
    bus: str
    stage: Stage
    topic: str
    missing: int
    messages: Sequence[MissingMessage]


@dataclass(frozen=True, slots=True)
class NoData:
    """A time in which a stage was not watched all the time: some windows in a row; Unix times."""

    start: float
    until: float
    bus: str
    stage: Stage
    windows: int
    unconfirmed: int  # messages that should have reached the stage; whether they did is not known
    messages: Sequence[MissingMessage]  # the unconfirmed ones, if the query asks for them


@dataclass(frozen=True, slots=True)
class Gaps:
    """The answer to a query, in order of time."""

    query: Query
    closed_until: float | None  # Unix time; None: no window is closed yet
    gaps: Sequence[Gap] = ()
    no_data: Sequence[NoData] = ()
    audited: Sequence[tuple[str, Stage]] = ()  # bus and stage

    def listed(self) -> list[Gap | NoData]:
        """Return gaps and times without data in one list, in order of time."""
        listed: list[Gap | NoData] = [*self.gaps, *self.no_data]
        return sorted(listed, key=lambda one: (one.start, one.bus, one.stage))


class NothingToAskOf(Exception):
    """The ledger has no such bus or topic; the text says which. Probably it is a typing error."""


def find_gaps(tables: Tables, query: Query, config: Config | None) -> Gaps:
    """Return what is missing. The configuration says how each bus's listener consumes again.

    Raises NothingToAskOf.
    """
    _check(tables, query, config)
    commands = reconsume_commands(config)
    no_data = _no_data(tables, query, commands)
    gaps = _gaps(tables, query, commands)
    audited = {(place.bus, place.stage) for place in tables.windows.totals()}
    return Gaps(
        query,
        tables.windows.closed_until(),
        sorted(gaps, key=lambda gap: (gap.start, gap.bus, gap.stage, gap.topic)),
        sorted(no_data, key=lambda one: (one.start, one.bus, one.stage)),
        sorted(place for place in audited if query.bus in {None, place[0]}),
    )


def _check(tables: Tables, query: Query, config: Config | None) -> None:
    buses = sorted({*tables.buses.names(), *(config.buses if config else ())})
    if query.bus is not None and query.bus not in buses:
        known = f"; known buses: {', '.join(buses)}" if buses else ""
        raise NothingToAskOf(f"no such bus: {printable(query.bus)}{known}")
    counted = (one.topic for one in tables.counters.all() if query.bus in {None, one.bus})
    if query.topic is not None and query.topic not in counted:
        raise NothingToAskOf(f"no message of this topic was counted: {printable(query.topic)}")


def reconsume_commands(config: Config | None) -> Commands:
    """Return the command that makes the listener of a bus consume a message again.

    Its last argument is the message's UUID: it takes the message from Datagrepper. None if no
    archive has the messages of the bus. Without a configuration each bus is Fedora's.
    """
    if config is None:
        return defaultdict(lambda: "fedora-messaging reconsume")
    known = {name: bus.reconsume_command() for name, bus in config.buses.items()}
    return defaultdict(lambda: None, known)


def _gaps(tables: Tables, query: Query, commands: Commands) -> Iterator[Gap]:
    missing = tables.open_messages.listed(query.since, query.bus, query.topic)
    for (start, until, bus, stage, topic), found in groupby(missing, key=lambda one: one[:5]):
        messages = _messages(bus, (one.id for one in found), commands)
        yield Gap(start, until, bus, stage, topic, len(messages), messages)


def _no_data(tables: Tables, query: Query, commands: Commands) -> Iterator[NoData]:
    """Yield the times without data in which busmon was blind, or of which a message is known."""
    without_data = tables.windows.rows(query.since, query.bus, without_data=True)
    for start, until, bus, stage, windows in _joined(without_data):
        messages, number = [], 0
        if stage is not Stage.BUS:
            ids = tables.messages.unconfirmed(bus, stage, start, until, query.topic)
            messages = _messages(bus, ids, commands) if query.unconfirmed else []
            number = len(messages) or sum(1 for _ in ids)
        if stage is Stage.BUS or number:
            yield NoData(start, until, bus, stage, windows, number, messages)


class _Span(NamedTuple):
    """Windows in a row without data."""

    start: float
    until: float
    bus: str
    stage: Stage
    windows: int


def _joined(without_data: Iterable[WindowRow]) -> list[_Span]:
    spans: list[_Span] = []
    for start, until, (bus, _, stage), _ in without_data:
        last = spans[-1] if spans else None
        if last and (last.bus, last.stage, last.until) == (bus, stage, start):
            spans[-1] = last._replace(until=until, windows=last.windows + 1)
        else:
            spans.append(_Span(start, until, bus, stage, 1))
    return spans


def _messages(bus: str, ids: Iterable[str], commands: Commands) -> list[MissingMessage]:
    command = commands[bus]
    return [
        MissingMessage(one, f"{command} {one}" if command and _is_uuid(one) else None)
        for one in ids
    ]


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
