"""The page of all topics, those first that need attention."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from busmon.ledger.batch import last_received
from busmon.message import Outcome, Topic
from busmon.silence.rates import DAY_SECONDS, MIN_DAYS
from busmon.silence.state import SilenceState
from busmon.web.axes import HOUR
from busmon.web.pages import values
from busmon.web.pages.page import Request
from busmon.web.pages.rates import unseen

SHOWN = 500  # topics on the page; a filter shows others
RECENT_HOURS = 24
# The state of a topic, in the order of what needs attention.
STATES = {
    "silent": "silent",
    "low": "low",
    "learning": "no baseline yet",
    "campaigns": "comes in campaigns",
    "usual": "usual",
    "unwatched": "not watched",
    "retired": "retired",
}
ORDER = {state: number for number, state in enumerate(STATES)}


def data(request: Request) -> dict[str, object]:
    """Return the topics that match the filter."""
    bus, text = (request.query.get(name, "") for name in ("bus", "q"))
    state = values.choice(request, "state", STATES) or ""
    found = [
        one
        for one in described(request, known(request))
        if bus in {"", one["bus"]}
        and state in {"", one["state"]}
        and text.lower() in one["topic"].lower()
    ]
    found.sort(key=_attention)
    return {
        "filter": {"bus": bus, "state": state, "q": text},
        "buses": sorted({topic.bus for topic in known(request)}),
        "states": STATES,
        "found": len(found),
        "topics": found[:SHOWN],
    }


def known(request: Request) -> set[Topic]:
    """Return all topics that the rules know, or of which a message ever came."""
    counts = request.service.parts.ledger.counts()
    return {*request.silence, *(Topic(one.bus, one.topic) for one in counts)}


def described(request: Request, topics: Iterable[Topic]) -> list[dict[str, Any]]:
    """Return what is known of each of these topics: from memory, but for the last 24 hours."""
    end = int(request.now // HOUR) + 1
    since = (end - RECENT_HOURS) * HOUR
    recent: dict[Topic, Counter[str]] = defaultdict(Counter)
    with request.read() as tables:
        for bus, name, outcome, messages in tables.topics.recent(end - RECENT_HOURS, end):
            recent[Topic(bus, name)][outcome] += messages
        begun = tables.topics.begun() or end * HOUR
    newest = last_received(request.service.parts.ledger.counts())
    gaps = _gaps(request)
    return [
        {
            "bus": topic.bus,
            "topic": topic.name,
            **_state(request.silence.get(topic)),
            "newest": newest.get(topic),
            "messages": recent[topic].total(),
            "usual": _usual(request, topic, since, begun),
            "handled": recent[topic][Outcome.HANDLED],
            "gaps": gaps[topic],
        }
        for topic in topics
    ]


def _state(state: SilenceState | None) -> dict[str, object]:
    """Return the state in a word, since when it holds, and until when there is no baseline.

    `awaited` is since when a topic has to come that never did, and `within` how soon.
    """
    if state is None:
        nothing = dict.fromkeys(("since", "until", "awaited", "within"))
        return {"state": "unwatched", **nothing, "gone": False}
    until = None if state.begun is None else state.begun + MIN_DAYS * DAY_SECONDS
    named = {
        "retired": state.retired,
        "silent": state.silent,
        "low": state.low,
        "campaigns": state.campaigns,
        "usual": state.ready,
    }
    word = next((name for name, holds in named.items() if holds), "learning")
    return {
        "state": word,
        "since": state.since,
        "until": until,
        "awaited": state.awaited,
        "within": None if state.awaited is None else state.longest,
        "gone": state.gone,
    }


def _usual(request: Request, topic: Topic, since: float, begun: float) -> list[float] | None:
    """Return what is usual of the time from `since` on in which busmon watched."""
    learned = request.service.parts.silence.learned(topic)
    if learned is None:
        return None
    return list(learned.usual(since, request.now, unseen(request, topic.bus, since, begun)))


def _gaps(request: Request) -> Mapping[Topic, int]:
    found: Counter[Topic] = Counter()
    for place, gap in request.service.parts.auditor.open_gaps().items():
        found[Topic(place.bus, place.topic)] += gap.messages
    return found


def _attention(one: Mapping[str, Any]) -> tuple[object, ...]:
    first = one["state"] not in {"silent", "low"} and not one["gaps"]
    return first, ORDER[one["state"]], -one["gaps"], one["bus"], one["topic"]
