"""The table of what can be asked below /v1."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from busmon.commands.acceptances import Done
from busmon.commands.find import MAX_LIMIT, MAX_NUMBER, MAX_WORDS, TIME
from busmon.commands.questions import QUESTIONS, Question
from busmon.message import GAP_STAGES, Outcome
from busmon.observers.tap_batch import ReportBatch
from busmon.web.api import shapes
from busmon.web.forget import Forget
from busmon.web.gaps import Accept, Reopen
from busmon.web.pages.gaps import GapFilter
from busmon.web.pages.incidents import MAX_DAYS
from busmon.web.pages.topic import RANGES
from busmon.web.pages.topics import STATES

Schema = Mapping[str, Any]


class Parameter(NamedTuple):
    """A parameter of the path or the query."""

    name: str
    about: str = ""
    schema: Schema = MappingProxyType({"type": "string"})
    required: bool = False


class Operation(NamedTuple):
    """What can be asked with one method of one path."""

    path: str  # below /v1, with the names of its parameters in braces
    about: str
    answer: Any  # the type of the JSON; None: a text
    query: Sequence[Parameter] = ()
    body: Any = None  # the type of the JSON that is sent, with POST; None: it is GET
    login: str = "reader"


def one_of(choices: Iterable[str]) -> Schema:
    """Return the schema of a text that is one of these."""
    return {"type": "string", "enum": list(map(str, choices))}


def number(least: int, most: int) -> Schema:
    """Return the schema of a whole number within bounds."""
    return {"type": "integer", "minimum": least, "maximum": most}


def _fields(question: type[Question]) -> list[Parameter]:
    """Return the fields of a question as parameters."""
    _, components = msgspec.json.schema_components([question])
    found = components[question.__name__]
    required = found.get("required", ())
    return [
        # A URL has no null: what is not known is left out.
        Parameter(name, "", schema.get("anyOf", [schema])[0], name in required)
        for name, schema in found["properties"].items()
    ]


BUS, TOPIC = Parameter("bus", "only this bus"), Parameter("topic", "only this topic")
UNIX = {"type": "string", "pattern": r"^[0-9]{1,11}([.][0-9]{1,9})?$"}
MOMENT = {
    "type": "string",
    "pattern": "^([0-9]{1,4}[smhdw]|[12][0-9]{3}-(0[1-9]|1[0-2])-([01][1-9]|2[0-8])"
    " ([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?)$",
}
STAGE = Parameter("stage", "only this stage", one_of(GAP_STAGES))

GET = (
    Operation("/", "How each bus is, why, and what to do next: the first page.", shapes.Overview),
    Operation("/status", "The verdict on each bus: what `busmon status` shows.", shapes.Status),
    Operation(
        "/topics",
        "The topics, those first that need attention.",
        shapes.Topics,
        [
            BUS,
            Parameter("state", "only topics in this state", one_of([*STATES])),
            Parameter("q", "only topics whose name has this text"),
        ],
    ),
    Operation(
        "/topics/{bus}/{topic}",
        "One topic over a range of time.",
        shapes.OneTopic,
        [Parameter("range", "how far back", one_of([*RANGES]))],
    ),
    Operation(
        "/messages",
        "Messages by what they are about, the newest first: what `busmon find` shows.",
        shapes.Messages,
        [
            Parameter("q", f"at most {MAX_WORDS} words: a package, project, build, task, id …"),
            BUS,
            Parameter("topic", "only this topic; its last parts are enough"),
            Parameter("outcome", "only this outcome", one_of(Outcome)),
            Parameter("reason", "only this reason"),
            Parameter("since", f"received since then; {TIME}", MOMENT),
            Parameter("until", f"received before this time; {TIME}", MOMENT),
            Parameter(
                "before", "go on from there: the `older` of an answer", number(1, MAX_NUMBER)
            ),
            Parameter("limit", "how many messages at most", number(1, MAX_LIMIT)),
        ],
    ),
    Operation("/messages/{bus}/{id}", "All that is known of one message.", shapes.Message),
    Operation(
        "/gaps",
        "The open gaps by place, and by window with their messages and what heals them.",
        shapes.Gaps,
        [
            Parameter("state", "which messages are listed", one_of(GapFilter)),
            BUS,
            TOPIC,
            STAGE,
            Parameter("until", "windows that began then or before: the `older` of an answer", UNIX),
        ],
    ),
    Operation(
        "/incidents",
        "The times in which all was not well, with the evidence and what was lost.",
        shapes.Incidents,
        [BUS, Parameter("days", "how far back", number(1, MAX_DAYS))],
    ),
    *(
        Operation(
            f"/commands/{name}",
            f"What `busmon {kind.command}` prints with `--url`, and its exit status.",
            shapes.Printed,
            _fields(kind),
        )
        for name, kind in QUESTIONS.items()
    ),
)

POST = (
    Operation(
        "/gaps/accept",
        "Accept open gaps of windows that began from `since` on and before `until`. `number` is"
        " null if none matches.",
        Done,
        body=Accept,
        login="operator",
    ),
    Operation("/gaps/reopen", "Take an acceptance back.", Done, body=Reopen, login="operator"),
    Operation(
        "/forget",
        "Take the name of a person out of what messages can be found by. Ask again until it has"
        " finished.",
        shapes.shape("Forgotten", sets=int, finished=bool),
        body=Forget,
        login="operator",
    ),
    Operation("/reports", "Takes the reports of the tap.", None, body=ReportBatch, login="tap"),
)
