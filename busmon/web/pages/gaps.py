"""/gaps: the messages that are missing, or were, by window and stage, and how to heal that."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import groupby

from busmon.commands.acceptances import as_dicts
from busmon.commands.gaps import NothingToAskOf, check_bus, check_topic, gap_messages
from busmon.commands.gaps_output import START_THE_WORKERS
from busmon.commands.reconsume import NAME_THE_CALLBACK, ReconsumeCommands
from busmon.ledger.gaps import ListedMessage, Selected
from busmon.ledger.open_messages import State
from busmon.ledger.tables import Tables
from busmon.message import GAP_STAGES, Stage
from busmon.sources.amqp.fedora_toml import NO_CALLBACK
from busmon.web.pages import values
from busmon.web.pages.page import NotFound, Request

MAX_WINDOWS = 50  # on one page
MAX_MESSAGES = 20  # of a window
MAX_LATEST = 500  # messages of the other states
MAX_ACCEPTANCES = 10


Window = tuple[int, list[ListedMessage]]  # how many messages it has, and some of them


class GapFilter(StrEnum):
    """Which messages are listed."""

    OPEN = "open"
    UNCONFIRMED = "unconfirmed"
    RECOVERED = "recovered"
    ACCEPTED = "accepted"
    EXPIRED = "expired"


def data(request: Request) -> dict[str, object]:
    """Return the open gaps by place, and windows of one state with their messages."""
    shown = values.choice(request, "state", GapFilter) or GapFilter.OPEN
    asked = Selected(
        (values.text(request, "bus") or "").strip() or None,
        values.text(request, "topic"),
        values.choice(request, "stage", GAP_STAGES),
    )
    with request.read() as tables:
        _check(request, tables, asked)
        if shown is GapFilter.OPEN:
            listed, more = _open(request, tables, asked)
        else:
            listed, more = _latest(tables, shown, asked), None
        acceptances = tables.acceptances.latest(MAX_ACCEPTANCES)
        closed_until = tables.windows.closed_until()
    commands = ReconsumeCommands(request.service.config)
    windows = [_window(number, some, commands) for number, some in listed]
    unconfirmed = request.service.parts.auditor.unconfirmed().items()
    return {
        "state": shown.value,
        "states": [state.value for state in GapFilter],
        "asked": asked._asdict(),
        "stages": [stage.value for stage in GAP_STAGES],
        "places": [place for place in _places(request) if _is_among(place, asked)],
        "unconfirmed": [
            place
            for (bus, stage), messages in sorted(unconfirmed)
            if messages
            and _is_among(place := {"bus": bus, "stage": stage.value, "messages": messages}, asked)
        ],
        "windows": windows,
        "older": more,
        "hints": list(_hints(windows)),
        "closed_until": closed_until,
        "acceptances": as_dicts(acceptances),
        "can_accept": bool(request.service.config.web.operators),
    }


def _check(request: Request, tables: Tables, asked: Selected) -> None:
    try:
        check_bus(tables, asked.bus, request.service.config)
        check_topic(tables, asked.topic, asked.bus)
    except NothingToAskOf as error:
        raise NotFound(str(error)) from error


def _open(request: Request, tables: Tables, asked: Selected) -> tuple[list[Window], float | None]:
    """Return windows with open gaps, and up to which time there are older ones."""
    until = values.time(request, "until")
    found = tables.gaps.open_windows(
        request.now if until is None else until, MAX_WINDOWS + 1, asked
    )
    more = found[MAX_WINDOWS].start if len(found) > MAX_WINDOWS else None
    windows = found[:MAX_WINDOWS]
    return [(one.messages, tables.gaps.of_window(one, MAX_MESSAGES)) for one in windows], more


def _latest(tables: Tables, shown: GapFilter, asked: Selected) -> list[Window]:
    """Return the windows of the last messages in a state."""
    found = tables.gaps.latest(State(shown), MAX_LATEST, asked)
    ordered = sorted(found, key=lambda one: (-one.start, *one[2:5], one.id))
    groups = (list(group) for _, group in groupby(ordered, key=lambda one: one[:5]))
    return [(len(group), group[:MAX_MESSAGES]) for group in groups][:MAX_WINDOWS]


def _window(
    number: int, some: Sequence[ListedMessage], commands: ReconsumeCommands
) -> dict[str, object]:
    first = some[0]
    messages = gap_messages(first.bus, (one.id for one in some), commands)
    return {
        "start": first.start,
        "until": first.until,
        "bus": first.bus,
        "stage": first.stage.value,
        "topic": first.topic,
        "estimated": any(one.estimated for one in some),
        "number": number,
        "messages": [{"id": one.id, **one.reconsume._asdict()} for one in messages],
    }


def _places(request: Request) -> Iterator[dict[str, object]]:
    """Yield the open gaps by place, those with most messages first."""
    gaps = request.service.parts.auditor.open_gaps().items()
    for place, gap in sorted(gaps, key=lambda one: (-one[1].messages, one[0])):
        yield {
            "bus": place.bus,
            "topic": place.topic,
            "stage": place.stage.value,
            "messages": gap.messages,
            "windows": gap.windows,
            "oldest": gap.oldest,
        }


def _is_among(place: Mapping[str, object], asked: Selected) -> bool:
    """Return whether a place is among those. One without a topic stands for all topics."""
    given = {name: value for name, value in asked._asdict().items() if value}
    return all(place.get(name, value) == value for name, value in given.items())


def _hints(windows: Iterable[dict[str, object]]) -> Iterator[str]:
    """Yield what to know before messages are consumed again."""
    listed = list(windows)
    if any(NO_CALLBACK in str(one["messages"]) for one in listed):
        yield NAME_THE_CALLBACK
    if any(one["stage"] in {Stage.WORKER, Stage.HANDLERS} for one in listed):
        yield START_THE_WORKERS
