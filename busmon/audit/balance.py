"""The balance of a window: which messages reached which stage, and which are open.

Pure functions. A message that the rules judge handled is expected at each stage: the listener
should pass it on, a worker should finish the task that was made of it, and the tasks that this one
sent, the handlers, should succeed. It is open at the first stage that it has not reached.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from busmon.ledger.messages import MessageTrace
from busmon.ledger.open_messages import State
from busmon.ledger.trees import TreeProgress
from busmon.message import Stage

WITH_WORKER = frozenset({"received", "started", "retried"})  # states of a task
GIVEN_UP = frozenset({"revoked", "rejected"})


class Progress(StrEnum):
    """How far a message that reached the stage before has come at a stage."""

    REACHED = "reached"
    RUNNING = "running"  # it is on its way, and may still reach it
    MISSING = "missing"
    FAILED = "failed"  # it is known that it ended without reaching it
    UNSEEN = "unseen"  # nobody can know, because the stage was not watched all the time
    UNEXPECTED = "unexpected"  # nothing is expected of it, there and behind


def at_listener(trace: MessageTrace) -> Progress:
    """Return how far a message has come: the listener passes each on at once."""
    if trace.passed:
        return Progress.REACHED
    return Progress.MISSING if trace.report is None else Progress.FAILED


def at_worker(trace: MessageTrace) -> Progress:
    """Return how far a message has come: a worker finishes its task, successfully or not."""
    if trace.finished:
        return Progress.REACHED
    if trace.task is None:
        return Progress.UNEXPECTED
    if trace.state in GIVEN_UP:
        return Progress.FAILED
    return Progress.RUNNING if trace.state in WITH_WORKER else Progress.MISSING


def at_handlers(trace: MessageTrace) -> Progress:
    """Return how far a message has come: all tasks of its tree succeed."""
    match trace.tree:
        case TreeProgress.SUCCEEDED:
            return Progress.REACHED
        case TreeProgress.RUNNING:
            return Progress.RUNNING
        case TreeProgress.FAILED:
            return Progress.FAILED
        case TreeProgress.UNSEEN:
            return Progress.UNSEEN
    return Progress.MISSING


# The stages behind the bus, in the order in which a message reaches them. What has reached its
# stage later is also found by `REACHED` in `ledger/open_messages.py`.
PROGRESS: Mapping[Stage, Callable[[MessageTrace], Progress]] = {
    Stage.LISTENER: at_listener,
    Stage.WORKER: at_worker,
    Stage.HANDLERS: at_handlers,
}


@dataclass(slots=True)
class Counts:
    """How many messages of one topic reached one stage in a window, and how many did not."""

    messages: int = 0
    missing: int = 0
    unexpected: int = 0  # passed on, although the rules ignore them


class Opened(NamedTuple):
    """A message that the window leaves open at a stage."""

    stage: Stage
    state: State
    trace: MessageTrace


@dataclass(frozen=True, slots=True)
class WindowBalance:
    """The balance of one window of one bus."""

    counts: dict[tuple[str, Stage], Counts] = field(default_factory=lambda: defaultdict(Counts))
    opened: list[Opened] = field(default_factory=list)


def balance(
    traces: Iterable[MessageTrace], stages: Collection[Stage], covered: Collection[Stage]
) -> WindowBalance:
    """Return the balance of the messages that busmon received in a window.

    `stages` are the audited ones, in order. `covered` are those whose observer watched the whole
    window. At the others a message has reached the stage or failed, if that is known, or is
    unconfirmed.
    """
    found = WindowBalance()
    for trace in traces:
        if trace.handled:
            _follow(found, trace, stages, covered)
        elif Stage.LISTENER in covered:
            found.counts[trace.topic, Stage.LISTENER].unexpected += trace.passed
    return found


def _follow(
    found: WindowBalance,
    trace: MessageTrace,
    stages: Collection[Stage],
    covered: Collection[Stage],
) -> None:
    """Count a message at each stage that it reached, up to the one at which it is open."""
    for stage in stages:
        progress = PROGRESS[stage](trace) if stage in PROGRESS else Progress.REACHED
        if progress is Progress.UNEXPECTED:
            return
        counts = found.counts[trace.topic, stage]
        if progress is not Progress.REACHED:
            state = _state(progress, stage in covered)
            counts.missing += state is State.MISSING
            found.opened.append(Opened(stage, state, trace))
            return
        counts.messages += 1


def _state(progress: Progress, covered: bool) -> State:
    if progress is Progress.FAILED:
        return State.MISSING  # a fact, also if not everything was observed
    if progress is Progress.UNSEEN or not covered:
        return State.UNCONFIRMED
    return State(progress)


def next_window(start: float, length: float) -> float:
    """Return the end of the window that starts at `start`; Unix times.

    Ends are multiples of `length`. So only the first window, or the first after a change of
    the length, is shorter, and no time is left out or counted twice.
    """
    return (start // length + 1) * length
