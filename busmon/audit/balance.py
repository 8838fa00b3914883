"""The books of a window: what was seen and should be handled, what was passed on, what was done.

Pure functions. A message that the rules judge handled is expected at each stage: the listener
should pass it on, and a worker should finish the task that was made of it.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import NamedTuple

FINISHED = frozenset({"succeeded", "failed"})  # states of a task; the others are on their way


class Stage(StrEnum):
    """Where a message comes by."""

    BUS = "bus"  # seen by busmon, and to be handled
    LISTENER = "listener"  # passed on, by the tap's report
    WORKER = "worker"  # its task finished, by Celery's events


class MessageTrace(NamedTuple):
    """What is known of one message that busmon saw, from the bus to the workers."""

    id: str | bytes
    topic: str
    handled: bool  # by the rules
    report: str | None = None  # passed, dropped or raised, by the tap; None: no report
    task: str | None = None  # the id of the task that it was passed on as
    state: str | None = None  # received, started, retried, succeeded, failed; None: no event

    @property
    def passed(self) -> bool:
        """Whether the listener passed it on."""
        return self.report == "passed"

    @property
    def finished(self) -> bool:
        """Whether a worker came to the end of its task, successfully or not."""
        return self.state in FINISHED


@dataclass(slots=True)
class Counts:
    """One line of the books: the messages of a topic at a stage."""

    messages: int = 0
    missing: int = 0
    unexpected: int = 0

    def counts(self) -> dict[str, int]:
        """Return the numbers by their names."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class WindowBalance:
    """The books of one window and bus."""

    lines: dict[tuple[str, Stage], Counts] = field(default_factory=lambda: defaultdict(Counts))
    missing: list[tuple[Stage, MessageTrace]] = field(default_factory=list)
    running: list[MessageTrace] = field(default_factory=list)  # neither done nor missing yet


def balance(fates: Iterable[MessageTrace], observed: Collection[Stage]) -> WindowBalance:
    """Return the books of the messages seen in a window.

    `observed` are the stages whose observer saw everything: of the others nothing is said.
    Where the listener was observed, each handled message is either passed or missing; where
    the workers were, each passed one is finished, missing (no worker took it), or running.
    """
    books = WindowBalance()
    for fate in fates:
        if fate.handled:
            books.lines[fate.topic, Stage.BUS].messages += 1
        if Stage.LISTENER not in observed:
            continue
        if not fate.handled:
            books.lines[fate.topic, Stage.LISTENER].unexpected += fate.passed
            continue
        _enter(books, fate, Stage.LISTENER, done=fate.passed)
        if not fate.passed or fate.task is None or Stage.WORKER not in observed:
            continue
        if fate.state and not fate.finished:
            books.running.append(fate)
        else:
            _enter(books, fate, Stage.WORKER, done=fate.finished)
    return books


def _enter(books: WindowBalance, fate: MessageTrace, stage: Stage, *, done: bool) -> None:
    line = books.lines[fate.topic, stage]
    if done:
        line.messages += 1
    else:
        line.missing += 1
        books.missing.append((stage, fate))


def recovered(stage: Stage, fate: MessageTrace) -> bool:
    """Tell whether a message that was missing at `stage` has come by after all."""
    return fate.passed if stage is Stage.LISTENER else fate.finished


def next_window(start: float, length: float) -> float:
    """Return the end of the window that starts where the last one ended.

    Ends are multiples of `length`. So where the length was changed, or busmon first began,
    one window is shorter, and none is left out or counted twice.
    """
    return (start // length + 1) * length
