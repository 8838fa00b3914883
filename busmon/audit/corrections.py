"""Corrections of closed windows, by what observers report later of their open messages.

Counters only go up. A message that was missing and then reached its stage is recovered, however
late. One that was unconfirmed, or still on its way, is counted at its stage when it has reached
it. One that is on its way for too long becomes missing, or unconfirmed if nobody watched.
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from busmon.audit.balance import PROGRESS, Progress
from busmon.audit.scope import Scopes
from busmon.ledger.coverage import MAX_GAP_SECONDS
from busmon.ledger.hourly import HOURS_KEPT
from busmon.ledger.open_messages import OpenMessage, Position, State
from busmon.ledger.tables import Tables
from busmon.ledger.windows import Totals

EXPIRY_SECONDS = HOURS_KEPT * 3600.0  # after the start of its window, an open gap ends
MAX_ROWS = 500  # that a step changes, which takes some milliseconds
MAX_LOOKS = 2000  # messages that a step looks at


class CorrectionKind(StrEnum):
    """What became of a message that a closed window left open."""

    RECOVERED = "recovered"  # it was missing, and reached its stage
    CONFIRMED = "confirmed"  # it was unconfirmed or running, and reached its stage
    MISSING = "missing"  # it was running, and failed or was late; or it was lost
    LOST = "lost"  # it came while the listener was absent, as is known to a minute
    UNKNOWN = "unknown"  # the same, but the stage was not watched all the time
    EXPIRED = "expired"  # it was missing for 13 months


MOVES = {
    CorrectionKind.RECOVERED: State.RECOVERED,
    CorrectionKind.MISSING: State.MISSING,
    CorrectionKind.UNKNOWN: State.UNCONFIRMED,
    CorrectionKind.EXPIRED: State.EXPIRED,
}  # the others are removed
COUNTS = {
    CorrectionKind.RECOVERED: Totals(recovered=1),
    CorrectionKind.CONFIRMED: Totals(messages=1),
    CorrectionKind.MISSING: Totals(missing=1),
    CorrectionKind.LOST: Totals(missing=1),
    CorrectionKind.EXPIRED: Totals(expired=1),
}
REACHED = {CorrectionKind.RECOVERED, CorrectionKind.CONFIRMED}


class Correction(NamedTuple):
    """What is to be written of one open message."""

    kind: CorrectionKind
    message: OpenMessage


NEXT = {State.MISSING: State.UNCONFIRMED, State.UNCONFIRMED: State.RUNNING}


class Look(NamedTuple):
    """How far the missing, the unconfirmed and the running messages have been looked at."""

    state: State = State.MISSING
    after: Position | None = None  # None: at the beginning


def find(
    tables: Tables, now: float, scopes: Scopes, look: Look
) -> tuple[list[Correction], Look | None]:
    """Return the corrections of some open messages, and from where to look on.

    That is None once all have been looked at.
    """
    # Only this much later is it known whether the stage was watched until the message was due.
    due = now - MAX_GAP_SECONDS
    ended, last = tables.open_messages.to_correct(look.state, look.after, MAX_LOOKS, due)
    found = [Correction(_kind(tables, message, scopes), message) for message in ended]
    if last:
        return found, Look(look.state, last)
    return found, Look(NEXT[look.state]) if look.state in NEXT else None


def _kind(tables: Tables, message: OpenMessage, scopes: Scopes) -> CorrectionKind:
    if message.state is State.RUNNING:
        return _kind_of_running(tables, message, scopes)
    return _kind_of_ended(message)


def _kind_of_ended(message: OpenMessage) -> CorrectionKind:
    if PROGRESS[message.stage](message.trace) is Progress.FAILED:
        return CorrectionKind.MISSING
    return CorrectionKind.RECOVERED if message.state is State.MISSING else CorrectionKind.CONFIRMED


def _kind_of_running(tables: Tables, message: OpenMessage, scopes: Scopes) -> CorrectionKind:
    progress = PROGRESS[message.stage](message.trace)
    if progress in {Progress.REACHED, Progress.FAILED}:
        return _kind_of_ended(message)
    scope, due = scopes.get(message.bus), message.due or message.start
    observer = scope.observers.get(message.stage) if scope else None
    # Its task can be younger than its window: it may have been passed on much later.
    begin = max(message.start, message.trace.passed_at or message.start)
    watched = observer and begin <= due and tables.coverage.is_covered(observer, begin, due)
    if watched and progress is not Progress.UNSEEN:
        return CorrectionKind.MISSING
    return CorrectionKind.UNKNOWN


def apply(
    tables: Tables, found: Sequence[Correction], now: float, scopes: Scopes, due: float
) -> None:
    """Write corrections, inside the caller's transaction.

    What has reached a stage only now must have reached the next one when it is `due`, a Unix
    time. What somebody else has changed since it was read stays as it is.
    """
    left = tables.open_messages.unchanged([message for _, message in found])
    moved, removed, added, counted = [], [], [], []
    for kind, message in found:
        # What no window left open is missing from the start.
        if kind is not CorrectionKind.LOST or message.state is not State.MISSING:
            if message.key not in left:
                continue
            left.remove(message.key)
            if kind in MOVES:
                moved.append((message, MOVES[kind]))
            else:
                removed.append(message)
        if kind in COUNTS:
            counted.append((message.start, message.place, COUNTS[kind]))
        if kind is CorrectionKind.LOST:
            added.append(message._replace(state=State.MISSING, estimated=True))
        elif kind in REACHED:
            for one in _following(message, scopes, due):
                added.append(one)
                left.discard(one.key)
    tables.open_messages.move(moved, now)
    tables.open_messages.remove(removed)
    tables.windows.correct(counted)
    add_open(tables, added)


def find_expired(tables: Tables, now: float) -> list[Correction]:
    """Return some messages that are missing for 13 months."""
    old = tables.open_messages.older(now - EXPIRY_SECONDS, MAX_ROWS)
    return [Correction(CorrectionKind.EXPIRED, message) for message in old]


def _following(message: OpenMessage, scopes: Scopes, due: float) -> Iterator[OpenMessage]:
    """Yield what is expected at the next stage of what has reached this one only now."""
    scope = scopes.get(message.bus)
    after = scope.after(message.stage) if scope else None
    if after and PROGRESS[after](message.trace) is not Progress.UNEXPECTED:
        yield message._replace(stage=after, state=State.RUNNING, due=due, estimated=False)


def add_open(tables: Tables, messages: Iterable[OpenMessage]) -> None:
    """Add open messages, inside the caller's transaction.

    One that comes again under an id that is still missing ends the old gap.
    """
    replaced = tables.open_messages.add(messages)
    tables.windows.correct((*one, Totals(recovered=1)) for one in replaced)
