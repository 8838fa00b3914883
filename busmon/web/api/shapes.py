"""What the pages answer below /v1, as types, from which the schemas are made.

What is a tuple or an enumeration elsewhere is taken from there. A test compares all of it with
what the pages really answer: no key may be missing, and none may be more.
"""

from typing import Any, Optional, get_type_hints

import msgspec

from busmon.commands.incidents import StillLost
from busmon.commands.trace_listener import ListenerState
from busmon.diagnosis.facts import LostMessages
from busmon.diagnosis.verdict import FaultKind, Verdict
from busmon.ledger.acceptances import Acceptance, Selection
from busmon.ledger.differences import Difference
from busmon.ledger.gaps import OpenAt, OpenGap
from busmon.ledger.incidents import Incident, Loss
from busmon.ledger.messages import MessageRecord
from busmon.ledger.search import Hit
from busmon.ledger.tasks import Task
from busmon.ledger.values import Interval
from busmon.message import Outcome, Stage
from busmon.metrics.delays import Step
from busmon.web.graph import Graph
from busmon.web.pages.gaps import GapFilter
from busmon.web.pages.links import Link
from busmon.web.pages.state import State


def shape(name: str, like: Any = None, /, **fields: Any) -> Any:
    """Return an object with these keys and no others, and with those that `like` has."""
    known = get_type_hints(like) if like else {}
    return msgspec.defstruct(
        name, list((known | fields).items()), kw_only=True, forbid_unknown_fields=True
    )


def many(kind: Any) -> Any:
    """Return a list of this."""
    return list[kind]


def mapping(kind: Any) -> Any:
    """Return an object with any keys, whose values are this."""
    return dict[str, kind]


def maybe(kind: Any) -> Any:
    """Return this or null."""
    return Optional[kind]  # noqa: UP045 - of a type that is made here


def page(name: str, **fields: Any) -> Any:
    """Return the data of a page; all have the time of the answer."""
    return shape(name, now=float, **fields)


Problem = shape("Problem", problem=str)

BusState = shape("BusState", State)
Rate = shape("Rate", since=float, messages=int, usual=maybe(float))
OpenGaps = shape("OpenGaps", LostMessages)
Verdict_ = shape("Verdict", Verdict)
SilentTopic = shape("SilentTopic", topic=str, state=str, since=maybe(float))
Bus = shape(
    "Bus",
    bus=str,
    state=BusState,
    verdict=FaultKind,
    meaning=str,
    since=maybe(float),
    evidence=list[str],
    runbook=maybe(str),
    command=str,
    connected=bool,
    problem=maybe(str),
    newest=maybe(float),
    blind_seconds_today=float,
    open_gaps=many(OpenGaps),
    topics=many(SilentTopic),
    rate=maybe(Rate),
    graph=maybe(Graph),
)
RecentIncident = shape(
    "RecentIncident", bus=str, kind=FaultKind, began=float, times=str, evidence=list[str]
)
Retired = shape("Retired", bus=str, topic=str, since=float, last=maybe(float))
Overview = page(
    "Overview",
    problems=list[str],
    unread=maybe(str),
    buses=many(Bus),
    removed=many(shape("RemovedBus", bus=str, messages=int)),
    incidents=many(RecentIncident),
    retired=many(Retired),
    schemas=str,
)

Topic = shape(
    "Topic",
    bus=str,
    topic=str,
    state=str,
    since=maybe(float),
    until=maybe(float),
    awaited=maybe(float),
    within=maybe(float),
    gone=bool,
    newest=maybe(float),
    messages=int,
    usual=maybe(list[float]),
    handled=int,
    gaps=int,
)
Topics = page(
    "Topics",
    filter=shape("TopicFilter", bus=str, state=str, q=str),
    buses=list[str],
    states=dict[str, str],
    found=int,
    topics=many(Topic),
)
Delay = shape("Delay", stage=Step, messages=int, median=float, slow=float, longest=float)
OneTopic = page(
    "OneTopic",
    topic=Topic,
    states=dict[str, str],
    range=str,
    ranges=dict[str, str],
    graph=Graph,
    outcomes=many(shape("OutcomeCount", outcome=Outcome, reason=str, messages=int)),
    delays=many(Delay),
    newest=many(
        shape(
            "TopicMessage",
            id=str,
            outcome=str,
            reason=str,
            filled=bool,
            received_at=float,
            sent_at=maybe(float),
            report=maybe(str),
            task=maybe(str),
        )
    ),
)

Key = shape("Key", kind=str, value=str)
Messages = page(
    "Messages",
    asked=dict[str, str],
    messages=many(shape("FoundMessage", Hit, keys=many(Key))),
    hints=list[str],
    archive=maybe(str),
    older=maybe(int),
    since=maybe(float),
    buses=list[str],
    outcomes=list[Outcome],
)
Traced = shape(
    "Traced",
    MessageRecord,
    listener=shape("ListenerState", ListenerState),
    audit=many(shape("OpenAt", OpenAt)),
    tasks=many(shape("Task", Task)),
    page=maybe(str),
    reconsume=maybe(str),
)
Message = page(
    "Message",
    id=str,
    message=Traced,
    keys=many(Key),
    lines=list[tuple[str, str]],
    tree=many(shape("TaskLine", id=str, name=str, text=str, failed=bool, depth=int)),
    links=many(shape("Link", Link)),
)

Acceptance_ = shape("Acceptance", Acceptance, selection=shape("Selection", Selection))
GapMessage = shape("GapMessage", id=str, command=maybe(str), why_not=maybe(str))
Gaps = page(
    "Gaps",
    state=GapFilter,
    states=list[GapFilter],
    asked=dict[str, str | None],
    stages=list[Stage],
    places=many(shape("Place", OpenGap, bus=str, topic=str, stage=Stage)),
    unconfirmed=many(shape("Unconfirmed", bus=str, stage=Stage, messages=int)),
    windows=many(
        shape(
            "Window",
            start=float,
            until=float,
            bus=str,
            stage=Stage,
            topic=str,
            estimated=bool,
            number=int,
            messages=many(GapMessage),
        )
    ),
    older=maybe(float),
    hints=list[str],
    closed_until=maybe(float),
    acceptances=many(Acceptance_),
    can_accept=bool,
)

IncidentReport = shape(
    "IncidentReport",
    Incident,
    lasts=bool,
    losses=many(shape("Loss", Loss)),
    absences=many(shape("Absence", since=float, until=float, estimated=bool)),
    blind=many(shape("BlindTime", Interval)),
    meaning=str,
    times=str,
    length=str,
    consequences=list[str],
)
Incidents = page(
    "Incidents",
    since=float,
    days=int,
    bus=maybe(str),
    buses=list[str],
    number=int,
    incidents=many(IncidentReport),
    still_lost=many(shape("StillLost", StillLost)),
)

Printed = page("Printed", output=str, status=int)
Status = shape(
    "Status",
    buses=mapping(Verdict_),
    open_gaps=many(shape("OpenGapsOfBus", LostMessages, bus=str)),
    incidents=many(shape("Incident", Incident)),
    archive_differences=many(shape("Difference", Difference)),
)
