"""The listener balanced by numbers: what busmon saw, against what its monitor says it received.

Pure functions. Where there is no tap, nobody tells which messages the listener got, only how
many. The difference of both numbers is what was lost, and what the listener has yet to get
to, and a little noise, since busmon and the listener get a message at different moments.
Loss is what stays. So a rise is told only where it lasts over two windows, at nearly every poll
of them, and beyond all that the noise can explain: rather too late or too few than in error.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

SKEW = 0.5  # seconds by which the listener may get a message earlier or later than busmon
TOLERANCE = 2  # messages that are not worth the risk of being wrong
ORIGIN = 2  # windows that show what the difference is while nothing is lost
LASTING = 2  # windows in which a rise has to last
BACK = 12  # windows that are looked at
PASSED_OVER = 2  # answers of a window, of 20 at least
YOUNG = 300.0  # seconds within which a listener could have counted all that it says it has


class Poll(NamedTuple):
    """One answer of the listener's monitor."""

    at: float  # Unix time
    received: int  # messages since the listener's start
    restarts: int  # of the listener, as far as they were noticed


class Span(NamedTuple):
    """A window and its grace, Unix times."""

    start: float
    told: float


class Bounds(NamedTuple):
    """The difference in a window: by SKEW, its least is at least `low` and at most `high`."""

    low: int
    high: int


def missing(seen: Sequence[float], polls: Sequence[Poll], spans: Sequence[Span]) -> int | None:
    """Return how many messages at least are missing by the last of these windows.

    None where not enough is known. `seen` are the Unix times, in order, of the messages
    that busmon saw and the listener should have got, from YOUNG seconds before the first
    poll on; `polls` and `spans` are in order, too, and busmon saw everything in them.

    What is told once is in the difference from then on, so that it is not told again.
    """
    begun = last_break(seen, polls)
    unbroken = [span for span in spans if span.start > begun]
    if len(unbroken) < ORIGIN + LASTING or unbroken[-1] != spans[-1]:
        return None
    answers = [[poll for poll in polls if start <= poll.at <= told] for start, told in unbroken]
    if not all(answers):
        return None
    # A listener that received nothing may be about to: that is no loss yet, and no origin.
    moving = [within for within in answers if within[0].received < within[-1].received]
    if len(moving) < ORIGIN + LASTING or moving[-1] is not answers[-1]:
        return 0
    bounds = [_bounds(seen, within) for within in moving]
    usual = max(high for _, high in bounds[:-LASTING])
    rise = min(low for low, _ in bounds[-LASTING:]) - usual
    return rise if rise > TOLERANCE else 0


def last_break(seen: Sequence[float], polls: Sequence[Poll]) -> float:
    """Return the Unix time of the last poll before which the listener may have begun anew.

    What it had received since the poll before that is in no count. A restart is not noticed
    where the listener has already counted as much as before; so one that could have
    counted all it says within a few minutes is not trusted.
    """
    return max((after.at for after in _breaks(seen, polls)), default=float("-inf"))


def _breaks(seen: Sequence[float], polls: Sequence[Poll]) -> Iterator[Poll]:
    for before, after in pairwise(polls):
        grown = after.received - before.received
        lately = bisect_right(seen, after.at) - bisect_right(seen, after.at - YOUNG)
        if grown < 0 or after.restarts != before.restarts or (grown and after.received <= lately):
            yield after


def _bounds(seen: Sequence[float], polls: Sequence[Poll]) -> Bounds:
    def least(shift: float) -> int:
        """Return the least difference, but for a few answers at the worst moments of all."""
        found = sorted(bisect_right(seen, poll.at + shift) - poll.received for poll in polls)
        return found[min(PASSED_OVER, len(found) // 10)]

    return Bounds(least(-SKEW), least(SKEW))
