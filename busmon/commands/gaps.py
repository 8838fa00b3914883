"""`busmon gaps`: what is missing, by window and stage, and the command that heals it."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

from busmon.audit.balance import Stage
from busmon.config.model import Config
from busmon.ledger.sqlite import milliseconds, shown_id
from busmon.text import format_number, format_time, printable

MISSING = """
SELECT missing.start, coalesce(windows.until, missing.start), name, missing.stage, missing.topic,
    missing.id
FROM missing JOIN buses ON buses.id = missing.bus
LEFT JOIN windows ON windows.start = missing.start AND windows.bus = missing.bus
    AND windows.topic = missing.topic AND windows.stage = missing.stage
WHERE recovered_at IS NULL AND coalesce(windows.until, missing.start) > :since
AND (:bus IS NULL OR name = :bus) AND (:topic IS NULL OR missing.topic = :topic)
ORDER BY missing.start, name, missing.stage, missing.topic, missing.id
"""
# Of these nobody knows the ids.
COUNTED = """
SELECT start, until, name, stage, topic, missing FROM windows JOIN buses ON buses.id = windows.bus
WHERE NOT exact AND missing AND until > :since
AND (:bus IS NULL OR name = :bus) AND :topic IS NULL ORDER BY start, name, stage
"""
NO_DATA = """
SELECT name, stage, bus, start, until FROM windows JOIN buses ON buses.id = windows.bus
WHERE messages IS NULL AND until > :since AND (:bus IS NULL OR name = :bus)
ORDER BY name, stage, start
"""
# In a time without data: what should have been passed on, and no report says that it was.
UNCONFIRMED = """
SELECT seen.id FROM seen JOIN series ON series.id = seen.series
LEFT JOIN reports ON reports.id = seen.id AND reports.bus = seen.bus
LEFT JOIN tasks ON tasks.id = reports.task
WHERE seen.received_at >= ? AND seen.received_at < ? AND seen.bus = ? AND outcome = 'handled'
AND (? IS NULL OR series.topic = ?)
"""
NOT_PASSED = " AND reports.state IS NOT 'passed'"
NOT_DONE = """ AND reports.state = 'passed'
AND coalesce(tasks.state, '') NOT IN ('succeeded', 'failed')
"""
WHICH = (
    "which ones is not known without a tap: compare what Datagrepper has of that time, and some"
    " minutes before, with the listener's log; `busmon trace ID` tells what busmon knows of one"
)
AUDITED = "SELECT DISTINCT name, stage FROM audited JOIN buses ON buses.id = audited.bus"


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
    db: sqlite3.Connection,
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
    asked = {"since": milliseconds(since), "bus": bus, "topic": topic}
    (closed,) = db.execute("SELECT max(until) FROM closed").fetchone()
    return Gaps(
        since,
        None if closed is None else closed / 1000,
        sorted([*_gaps(db, asked, config), *_counted(db, asked)], key=_place),
        list(_no_data(db, asked, config, listed=unconfirmed)),
        [(name, stage) for name, stage in db.execute(AUDITED) if bus in {None, name}],
    )


def _gaps(
    db: sqlite3.Connection, asked: Mapping[str, object], config: Config | None
) -> Iterator[Gap]:
    for (start, until, bus, stage, topic), rows in groupby(
        db.execute(MISSING, asked), key=lambda row: row[:5]
    ):
        messages = _messages_of(bus, (row[5] for row in rows), config)
        place = start / 1000, until / 1000, bus, stage, topic
        yield Gap(*place, len(messages), True, messages)


def _counted(db: sqlite3.Connection, asked: Mapping[str, object]) -> Iterator[Gap]:
    for start, until, bus, stage, topic, missing in db.execute(COUNTED, asked):
        yield Gap(start / 1000, until / 1000, bus, stage, topic, missing, False, [])


def _place(gap: Gap) -> tuple[float, str, str, str]:
    return gap.start, gap.bus, gap.stage, gap.topic


def _messages_of(
    bus: str, ids: Iterable[str | bytes], config: Config | None
) -> list[MissingMessage]:
    return [
        MissingMessage(shown, reconsume_command(bus, shown, config)) for shown in map(shown_id, ids)
    ]


def _no_data(
    db: sqlite3.Connection, asked: Mapping[str, object], config: Config | None, *, listed: bool
) -> Iterator[NoData]:
    """Yield times without data, windows that follow each other as one."""
    spans: list[list[Any]] = []
    for name, stage, bus, start, until in db.execute(NO_DATA, asked):
        if spans and spans[-1][:3] == [name, stage, bus] and spans[-1][4] == start:
            spans[-1][4:] = until, spans[-1][5] + 1
        else:
            spans.append([name, stage, bus, start, until, 1])
    for name, stage, bus, start, until, windows in spans:
        messages, number = [], 0
        if stage != Stage.BUS:
            question = UNCONFIRMED + (NOT_PASSED if stage == Stage.LISTENER else NOT_DONE)
            topic = asked["topic"]
            ids = (row[0] for row in db.execute(question, (start, until, bus, topic, topic)))
            messages = _messages_of(name, ids, config) if listed else []
            number = len(messages) or sum(1 for _ in ids)
        yield NoData(start / 1000, until / 1000, name, stage, windows, number, messages)


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
