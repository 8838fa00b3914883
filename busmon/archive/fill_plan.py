"""How a blind time is filled from an archive: pure functions.

It is read by key, the oldest messages first: the next question begins at the second of the last
message. So nothing is left out, although many messages have the same time, and pages by number
would lose some. What is on record already is dropped by its id, so a margin costs nothing.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from busmon.archive.client import MAX_MESSAGES, MAX_ROWS, NO_LIMIT, Found, Stored
from busmon.ledger.filled import Fill, FillState
from busmon.ledger.values import Interval

MARGIN_SECONDS = 60  # on both sides: sent-at has whole seconds, and clocks differ
PART_SECONDS = 3600  # in which an archive has a message of any topic, unless it was away
NEAR_SECONDS = 600  # a message that was sent in the margin was received by then


class Question(NamedTuple):
    """What to read next: the messages sent from `since` on and before `until`."""

    since: int
    until: int
    rows: int = MAX_ROWS


class Taken(NamedTuple):
    """What an answer brings."""

    messages: Sequence[Stored]
    reached: int  # all that was sent before is known
    complete: bool = True  # False: the archive has more of this time than can be read


def together(times: Iterable[Interval]) -> list[Interval]:
    """Return times in order, those whose margins overlap as one."""
    found: list[Interval] = []
    for since, until in sorted(times):
        if found and since <= found[-1].until + 2 * MARGIN_SECONDS:
            found[-1] = Interval(found[-1].since, max(found[-1].until, until))
        else:
            found.append(Interval(since, until))
    return found


def changes(
    known: Iterable[Fill], blind: Iterable[Interval], oldest: float
) -> tuple[list[Fill], list[Fill]]:
    """Return the fills that are new or longer than before, and those that are no more.

    What ended before `oldest`, a Unix time, does not become new.
    """
    before = {fill.since: fill for fill in known}
    changed = []
    for since, until in together(blind):
        fill = before.pop(since, None)
        if fill is None:
            changed += [Fill(since, until)] if until > oldest else []
        elif fill.until != until:
            changed.append(fill._replace(until=until, state=FillState.WAITING))
    return changed, list(before.values())


def begin(fill: Fill, began: float) -> int:
    """Return where to read on, a Unix time.

    busmon received the first message of the bus when it `began`. What was sent before busmon was
    there is not its business.
    """
    if fill.reached is not None:
        return math.floor(fill.reached)
    return math.floor(max(fill.since - MARGIN_SECONDS, min(fill.since, began)))


def end(fill: Fill) -> int:
    """Return up to when to read, a Unix time."""
    return math.ceil(fill.until + MARGIN_SECONDS)


def take(asked: Question, found: Found) -> Taken | None:
    """Return what an answer brings; None if that is nothing: `crowded` says what to ask then."""
    if found.total == len(found.messages):
        return Taken(found.messages, asked.until)
    timed = [one.sent_at for one in found.messages if one.sent_at is not None]
    reached = math.floor(timed[-1]) if timed else asked.since
    if reached > asked.since:
        return Taken(found.messages, reached)
    if asked.until - asked.since > 1 or found.total <= MAX_MESSAGES:
        return None
    return Taken(found.messages, asked.until, complete=False)


def crowded(asked: Question) -> Question:
    """Return the next question if more messages share a second than an answer has."""
    if asked.until - asked.since > 1:
        return asked._replace(until=asked.since + 1)
    return asked._replace(rows=NO_LIMIT)


def shorter(asked: Question) -> Question:
    """Return the next question if there is no answer."""
    half = (asked.until - asked.since) // 2
    return asked if half < MARGIN_SECONDS else asked._replace(until=asked.since + half)


def smaller(asked: Question) -> Question | None:
    """Return the next question if an answer is too long; None if it cannot be read at all."""
    if asked.rows > 1:
        return asked._replace(rows=asked.rows // 4 or 1)
    if asked.rows == 1 and asked.until - asked.since > 1:
        return asked._replace(until=asked.since + (asked.until - asked.since) // 2)
    return None


def finished(fill: Fill) -> Fill:
    """Return a blind time that was read to its end."""
    if not fill.seen:
        return fill._replace(state=FillState.NOT)
    return fill._replace(state=FillState.PARTLY if fill.holes else FillState.FILLED)
