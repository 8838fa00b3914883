"""`busmon gaps`: what is missing, by window and stage, and the command that heals it."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

from busmon.config.model import Config
from busmon.ledger.open_messages import ListedMessage
from busmon.ledger.tables import Tables
from busmon.ledger.windows import Totals, WindowRow
from busmon.message import Stage
from busmon.text import format_number, format_time, printable

WHICH = (
    "which ones is not known without a tap: compare what Datagrepper has of that time, and some"
    " minutes before, with the listener's log; `busmon trace ID` tells what busmon knows of one"
)


class MissingMessage(NamedTuple):
    """A missing message, and the command that lets the listener consume it again."""

    id: str
    reconsume: str | None


@dataclass(frozen=True, slots=True)
class Gap:
    """What is missing of one topic at one stage in one window; Unix times.

    By numbers nobody knows of which topics and which messages: it is empty then, and so are
    they.
    """

    start: float
    until: float
    bus: str
    stage: str
    topic: str
    missing: int
    exact: bool
    messages: Sequence[MissingMessage]


@dataclass(frozen=True, slots=True)
class NoData:
    """A time in which not all was seen at a stage; Unix times."""

    start: float
    until: float
    bus: str
    stage: str
    windows: int
    unconfirmed: int  # messages that should have come by, and of which that is not known
    messages: Sequence[MissingMessage]  # which these are, where that was asked


@dataclass(frozen=True, slots=True)
class Gaps:
    """What the books say since a time."""

    since: float
    closed_until: float | None  # None: no window was closed yet
    gaps: Sequence[Gap] = ()
    no_data: Sequence[NoData] = ()
    audited: Sequence[tuple[str, str]] = ()  # bus and stage


def reconsume_command(bus: str, identity: str, config: Config | None) -> str | None:
    """Return the command that lets the listener consume a message again, or None.

    It takes the message from Datagrepper, by its UUID; MQTT and STOMP have no such archive.
    The callback is that of the listener's own file, where the configuration names it.
    """
    settings = config.buses.get(bus) if config else None
    if not _is_uuid(identity):
        return None
    if settings:
        return settings.reconsume_command(identity)
    return f"fedora-messaging reconsume {identity}"


def find(
    tables: Tables,
    since: float,
    bus: str | None,
    topic: str | None,
    config: Config | None,
    *,
    unconfirmed: bool = False,
) -> Gaps:
    """Return what the books say of windows that ended after `since`, a Unix time.

    `unconfirmed`: with the ids of the messages of which nothing is known.
    """
    gaps = list(_gaps(tables.open_messages.listed(since, bus, topic), config))
    incomplete = list(tables.windows.rows(since, bus, incomplete=True))
    if topic is None:  # by numbers, messages have no topic
        gaps += (_counted(row, row.totals) for row in incomplete if row.totals)
    spans = _joined(row for row in incomplete if row.totals is None)
    audited = {place[::2] for place in tables.windows.totals() if bus in {None, place.bus}}
    return Gaps(
        since,
        tables.windows.closed_until(),
        sorted(gaps, key=_place),
        list(_no_data(tables, spans, topic, config, listed=unconfirmed)),
        sorted(audited),
    )


def _gaps(missing: Iterable[ListedMessage], config: Config | None) -> Iterator[Gap]:
    for (start, until, bus, stage, topic), found in groupby(missing, key=lambda one: one[:5]):
        messages = _messages_of(bus, (one.id for one in found), config)
        yield Gap(start, until, bus, stage, topic, len(messages), True, messages)


def _counted(row: WindowRow, totals: Totals) -> Gap:
    bus, topic, stage = row.place
    return Gap(row.start, row.until, bus, stage, topic, totals.missing, False, [])


def _place(gap: Gap) -> tuple[float, str, str, str]:
    return gap.start, gap.bus, gap.stage, gap.topic


def _messages_of(bus: str, ids: Iterable[str], config: Config | None) -> list[MissingMessage]:
    return [MissingMessage(id_, reconsume_command(bus, id_, config)) for id_ in ids]


class _Span(NamedTuple):
    """Windows without data that follow each other."""

    start: float
    until: float
    bus: str
    stage: Stage
    windows: int


def _joined(windows: Iterable[WindowRow]) -> list[_Span]:
    spans: list[_Span] = []
    for start, until, (bus, _, stage), *_ in windows:
        last = spans[-1] if spans else None
        if last and (last.bus, last.stage, last.until) == (bus, stage, start):
            spans[-1] = last._replace(until=until, windows=last.windows + 1)
        else:
            spans.append(_Span(start, until, bus, stage, 1))
    return spans


def _no_data(
    tables: Tables,
    spans: Iterable[_Span],
    topic: str | None,
    config: Config | None,
    *,
    listed: bool,
) -> Iterator[NoData]:
    for start, until, bus, stage, windows in spans:
        messages, number = [], 0
        if stage is not Stage.BUS:
            ids = tables.messages.unconfirmed(bus, stage, start, until, topic)
            messages = _messages_of(bus, ids, config) if listed else []
            number = len(messages) or sum(1 for _ in ids)
        yield NoData(start, until, bus, stage, windows, number, messages)


def as_ids(found: Gaps) -> str:
    """Return the ids of all these messages, each once, one a line."""
    listed: list[Gap | NoData] = [*found.gaps, *found.no_data]
    ids = (printable(message.id) for one in listed for message in one.messages)
    return "\n".join(dict.fromkeys(ids))


def as_json(found: Gaps) -> str:
    """Return everything as one JSON object; Unix times."""
    answer = {
        "since": found.since,
        "closed_until": found.closed_until,
        "audited": [{"bus": bus, "stage": stage} for bus, stage in found.audited],
        "gaps": list(map(_as_dict, found.gaps)),
        "no_data": list(map(_as_dict, found.no_data)),
    }
    return json.dumps(answer, indent=2)


def _as_dict(of: Gap | NoData) -> dict[str, Any]:
    return asdict(of) | {"messages": [message._asdict() for message in of.messages]}


def as_table(found: Gaps) -> str:
    """Return everything for people to read, each message with the command that heals it."""
    lines = []
    for gap in found.gaps:
        place = f"{_span(gap)}  {gap.bus}  {gap.stage}"
        if not gap.exact:
            lines += [f"{place}  at least {gap.missing} missing, by numbers", f"    {WHICH}"]
            continue
        lines.append(f"{place}  {printable(gap.topic)}  {gap.missing} missing")
        lines += (f"    {_healed(message)}" for message in gap.messages)
    for one in found.no_data:
        lines.append(f"{_span(one)}  {one.bus}  {one.stage}  no data: {_why(one)}")
        lines += (f"    {_healed(message)}" for message in one.messages)
    missing = sum(gap.missing for gap in found.gaps)
    since = format_time(found.since)
    if missing:
        lines.append(f"{format_number(missing, 'message')} missing since {since}")
    else:
        lines.append(f"Nothing is known to be missing since {since}")
    return "\n".join([*lines, *_caveats(found)])


def _healed(message: MissingMessage) -> str:
    return (
        message.reconsume or f"{printable(message.id)}: there is no archive to take it from again"
    )


def _why(one: NoData) -> str:
    if one.stage == Stage.BUS:
        return "busmon did not receive all the time"
    done = "passed" if one.stage == Stage.LISTENER else "finished"
    return f"of {format_number(one.unconfirmed, 'message')} it is not known that they were {done}"


def _caveats(found: Gaps) -> Iterator[str]:
    """Yield what a reader has to know, lest he takes no news for good news."""
    if found.closed_until is None:
        yield "No window was closed yet."
        return
    yield f"The books are closed up to {format_time(found.closed_until)}."
    listening = {bus for bus, stage in found.audited if stage != Stage.BUS}
    for bus in sorted({bus for bus, _ in found.audited} - listening):
        yield f"{bus}: no tap reports, so that nothing is known of its listener."


def _span(of: Gap | NoData) -> str:
    start, until = (datetime.fromtimestamp(t, UTC) for t in (of.start, of.until))
    end = f"{until:%H:%M:%S}" if start.date() == until.date() else f"{until:%Y-%m-%d %H:%M:%S}"
    return f"{start:%Y-%m-%d %H:%M:%S} to {end} UTC"


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
