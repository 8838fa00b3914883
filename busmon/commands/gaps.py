"""`busmon gaps`: find what is still missing, by window and stage, and how to consume it again."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice
from typing import NamedTuple

from busmon.audit.absences import Absence, absences
from busmon.commands.reconsume import Reconsume, ReconsumeCommands
from busmon.config.model import Config
from busmon.ledger.open_messages import ENDED, State
from busmon.ledger.tables import Tables
from busmon.message import Stage
from busmon.text import printable

DAY_SECONDS = 86400.0


class GapsQuery(NamedTuple):
    """What to look for. None stands for every bus or topic."""

    since: float | None = None  # Unix time: windows that ended later
    bus: str | None = None
    topic: str | None = None
    unconfirmed: bool = False  # also list the unconfirmed messages, not only count them
    ended: bool = False  # also list the gaps that have ended


class GapMessage(NamedTuple):
    """A message that is, was or may be missing."""

    id: str
    reconsume: Reconsume


@dataclass(frozen=True, slots=True)
class Gap:
    """What is or was missing at one stage of one topic's messages in one window; Unix times."""

    start: float
    until: float
    bus: str
    stage: Stage
    topic: str
    state: State  # missing: the gap is open; else what became of it
    estimated: bool  # its time is known to a minute only
    number: int
    messages: Sequence[GapMessage]

    @property
    def open(self) -> bool:
        """Whether the messages are still missing."""
        return self.state is State.MISSING


@dataclass(frozen=True, slots=True)
class NoData:
    """Some windows in a row in which a stage was not watched all the time; Unix times."""

    start: float
    until: float
    bus: str
    stage: Stage
    windows: int
    unconfirmed: int  # messages that should have reached the stage; whether they did is not known
    messages: Sequence[GapMessage]  # the unconfirmed ones, if the query asks for them


@dataclass(frozen=True, slots=True)
class Gaps:
    """The answer to a query, in order of time."""

    query: GapsQuery
    closed_until: float | None  # Unix time; None: no window is closed yet
    gaps: Sequence[Gap] = ()
    no_data: Sequence[NoData] = ()
    audited: Sequence[tuple[str, Stage]] = ()  # bus and stage
    absences: Sequence[tuple[str, Absence]] = ()  # of a bus's listener, which explain open gaps
    accepted: int = 0  # messages

    def open(self) -> list[Gap]:
        """Return the gaps that are still open."""
        return [gap for gap in self.gaps if gap.open]

    def listed(self) -> list[Gap | NoData]:
        """Return gaps and times without data in one list, in order of time."""
        listed: list[Gap | NoData] = [*self.gaps, *self.no_data]
        return sorted(listed, key=lambda one: (one.start, one.bus, one.stage))


class NothingToAskOf(Exception):
    """The ledger has no such bus or topic; the text says which. Probably it is a typing error."""


class TooMany(Exception):
    """More is found than may be listed; the text says what to do."""

    def __init__(self, most: int, what: str) -> None:
        super().__init__(f"more than {most:,} {what}: ask for less of them, or read the ledger")


def find_gaps(
    tables: Tables, query: GapsQuery, config: Config | None, most: int | None = None
) -> Gaps:
    """Return what is missing. The configuration says how each bus's listener consumes again.

    Raises NothingToAskOf, and TooMany if there are more than `most` messages.
    """
    check_bus(tables, query.bus, config)
    check_topic(tables, query.topic, query.bus)
    commands = ReconsumeCommands(config)
    if most is not None:
        _check_number(tables, query, most)
    no_data = _no_data(tables, query, commands)
    gaps = list(_gaps(tables, query, commands))
    audited = {(place.bus, place.stage) for place in tables.windows.totals()}
    return Gaps(
        query,
        tables.windows.closed_until(),
        gaps,
        sorted(no_data, key=lambda one: (one.start, one.bus, one.stage)),
        sorted(place for place in audited if query.bus in {None, place[0]}),
        list(_absences(tables, gaps, config)) if config else (),
        tables.acceptances.messages(query.since or 0, query.bus, query.topic),
    )


def check_bus(tables: Tables, bus: str | None, config: Config | None) -> None:
    """Raise NothingToAskOf if the bus is neither on record nor configured."""
    buses = sorted({*tables.buses.names(), *(config.buses if config else ())})
    if bus is not None and bus not in buses:
        known = f"; known buses: {', '.join(buses)}" if buses else ""
        raise NothingToAskOf(f"no such bus: {printable(bus)}{known}")


def check_topic(tables: Tables, topic: str | None, bus: str | None) -> None:
    """Raise NothingToAskOf if no message of the topic was counted."""
    if topic is None:
        return
    if topic not in {one.topic for one in tables.counters.all() if bus in {None, one.bus}}:
        raise NothingToAskOf(f"no message of this topic was counted: {printable(topic)}")


def _check_number(tables: Tables, query: GapsQuery, most: int) -> None:
    states = (State.MISSING, State.UNCONFIRMED, *(ENDED if query.ended else ()))
    listed = tables.gaps.listed(states, query.since or 0, query.bus, query.topic)
    if sum(1 for _ in islice(listed, most + 1)) > most:
        raise TooMany(most, "messages")


def _gaps(tables: Tables, query: GapsQuery, commands: ReconsumeCommands) -> Iterator[Gap]:
    states = (State.MISSING, *(ENDED if query.ended else ()))
    listed = tables.gaps.listed(states, query.since or 0, query.bus, query.topic)
    for (start, until, bus, stage, topic, state, estimated), found in groupby(
        listed, key=lambda one: one[:-1]
    ):
        messages = gap_messages(bus, (one.id for one in found), commands)
        yield Gap(start, until, bus, stage, topic, state, estimated, len(messages), messages)


def _no_data(tables: Tables, query: GapsQuery, commands: ReconsumeCommands) -> Iterator[NoData]:
    """Yield the times in which messages are unconfirmed, and those in which busmon was blind."""
    states = (State.UNCONFIRMED,)
    listed = tables.gaps.listed(states, query.since or 0, query.bus, query.topic)
    unconfirmed = defaultdict[_Window, list[str]](list)
    for one in listed:
        unconfirmed[_Window(one.bus, one.stage, one.start, one.until)].append(one.id)
    for span in _joined(unconfirmed):
        ids = list(chain.from_iterable(unconfirmed[window] for window in span))
        messages = gap_messages(span[0].bus, ids, commands) if query.unconfirmed else []
        yield _as_no_data(span, len(ids), messages)
    for span in _joined(_blind_windows(tables, query)):
        yield _as_no_data(span, 0, [])


def _absences(tables: Tables, gaps: Iterable[Gap], config: Config) -> Iterator[tuple[str, Absence]]:
    """Yield the absences of listeners in the windows of open gaps."""
    windows = defaultdict[str, list[Gap]](list)
    for gap in gaps:
        if gap.open and gap.stage is Stage.LISTENER:
            windows[gap.bus].append(gap)
    for bus, found in sorted(windows.items()):
        for absence in known_absences(tables, bus, config):
            if any(absence.overlaps(gap.start, gap.until) for gap in found):
                yield bus, absence


def known_absences(tables: Tables, bus: str, config: Config) -> Iterator[Absence]:
    """Yield the absences of a bus's listener, oldest first."""
    if source := config.audit.observed(config.buses).scope(bus).absences:
        yield from absences(tables, bus, source, config.audit.grace)


class _Window(NamedTuple):
    """A window without data."""

    bus: str
    stage: Stage
    start: float
    until: float


def _blind_windows(tables: Tables, query: GapsQuery) -> Iterator[_Window]:
    """Yield the windows in which busmon was blind, by default those of the last day."""
    since = query.since
    if since is None:
        since = (tables.windows.closed_until() or 0) - DAY_SECONDS
    for start, until, (bus, _, stage), _ in tables.windows.rows(
        since, query.bus, without_data=True
    ):
        if stage is Stage.BUS:
            yield _Window(bus, stage, start, until)


def _joined(windows: Iterable[_Window]) -> list[list[_Window]]:
    """Return the windows in spans, in each of which they follow each other."""
    spans: list[list[_Window]] = []
    for window in sorted(windows):
        last = spans[-1][-1] if spans else None
        if last and (last.bus, last.stage, last.until) == window[:3]:
            spans[-1].append(window)
        else:
            spans.append([window])
    return spans


def _as_no_data(span: list[_Window], number: int, messages: Sequence[GapMessage]) -> NoData:
    first, last = span[0], span[-1]
    return NoData(first.start, last.until, first.bus, first.stage, len(span), number, messages)


def gap_messages(bus: str, ids: Iterable[str], commands: ReconsumeCommands) -> list[GapMessage]:
    """Return messages with the commands that make the listener of the bus consume them again."""
    return [GapMessage(one, commands.of(bus, one)) for one in ids]
