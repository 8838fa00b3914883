"""The balance of a window: which messages reached which stage, and which are missing.

Pure functions. A message that the rules judge handled is expected at each stage: the listener
should pass it on, and a worker should finish the task that was made of it.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from busmon.ledger.messages import MessageTrace
from busmon.message import Stage


@dataclass(slots=True)
class Counts:
    """How many messages of one topic reached one stage in a window, and how many did not."""

    messages: int = 0
    missing: int = 0
    unexpected: int = 0  # passed on, although the rules ignore them


@dataclass(frozen=True, slots=True)
class WindowBalance:
    """The balance of one window of one bus."""

    counts: dict[tuple[str, Stage], Counts] = field(default_factory=lambda: defaultdict(Counts))
    missing: list[tuple[Stage, MessageTrace]] = field(default_factory=list)
    running: list[MessageTrace] = field(default_factory=list)  # a worker has them: still open


def balance(traces: Iterable[MessageTrace], covered: Collection[Stage]) -> WindowBalance:
    """Return the balance of the messages that busmon received in a window.

    `covered` are the stages whose observer watched the whole window. Nothing is said of the
    others. If the listener is covered, each handled message is either passed or missing. If the
    workers are covered, too, each passed one is finished, missing (no worker took it) or running.
    """
    found = WindowBalance()
    for trace in traces:
        if trace.handled:
            found.counts[trace.topic, Stage.BUS].messages += 1
        if Stage.LISTENER not in covered:
            continue
        if not trace.handled:
            found.counts[trace.topic, Stage.LISTENER].unexpected += trace.passed
            continue
        _count(found, trace, Stage.LISTENER)
        if not trace.passed or trace.task is None or Stage.WORKER not in covered:
            continue
        if trace.state and not trace.finished:
            found.running.append(trace)
        else:
            _count(found, trace, Stage.WORKER)
    return found


def _count(found: WindowBalance, trace: MessageTrace, stage: Stage) -> None:
    counts = found.counts[trace.topic, stage]
    if trace.reached(stage):
        counts.messages += 1
    else:
        counts.missing += 1
        found.missing.append((stage, trace))


def next_window(start: float, length: float) -> float:
    """Return the end of the window that starts at `start`; Unix times.

    Ends are multiples of `length`. So only the first window, or the first after a change of
    the length, is shorter, and no time is left out or counted twice.
    """
    return (start // length + 1) * length
