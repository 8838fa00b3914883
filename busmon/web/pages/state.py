"""The state of a bus, and the worst of all, in a word: the title and the icon of every page."""

from typing import NamedTuple

from busmon.diagnosis.verdict import FaultKind, worst
from busmon.text import format_number
from busmon.web.pages.page import Request


class State(NamedTuple):
    """How it is, for people."""

    level: str  # bad, warning, unknown or good
    symbol: str  # one character
    text: str


UNJUDGED = State("unknown", "?", "nothing is judged yet")
UNWATCHED = State("unknown", "?", "no listener is watched")
WELL = State("good", "✓", "all is well")


def state_of_all(request: Request) -> State:
    """Return the worst state of all buses."""
    found = request.diagnosis
    kind, lost = worst(found.verdicts.values()), sum(found.lost.values())
    if kind is not FaultKind.NONE:
        return State("bad", "✗", kind)
    if request.service.problems():
        return State("bad", "✗", "not ready")
    if lost:
        return _lost(lost)
    states = [state_of(request, bus) for bus in found.verdicts]
    return next((state for state in states if state.level == "unknown"), WELL)


def state_of(request: Request, bus: str) -> State:
    """Return how one bus is. It is not well if nothing is judged yet, or no listener watched."""
    verdict, lost = request.diagnosis.verdicts[bus], request.diagnosis.lost.get(bus, 0)
    if verdict.kind is not FaultKind.NONE:
        return State("bad", "✗", verdict.kind)
    if lost:
        return _lost(lost)
    if not _is_judged(request, bus):
        return UNJUDGED
    observers = request.service.parts.observers
    watched = any(observer.bus == bus and observer.up() for observer in observers)
    return WELL if watched else UNWATCHED


def _lost(messages: int) -> State:
    return State("warning", "!", f"{format_number(messages, 'message')} still lost")


def _is_judged(request: Request, bus: str) -> bool:
    """Return whether a silence would be noticed, or a window of messages was closed."""
    topics = request.silence.items()
    watched = (state for topic, state in topics if topic.bus == bus and state.ratio is not None)
    if any(state.awaited is None for state in watched):  # of the others no message ever came
        return True
    return any(place.bus == bus for place in request.service.parts.auditor.totals())
