"""Compare by numbers: what busmon received with what the listener's monitor says it received.

Pure functions. Without a tap nobody reports which messages the listener received, only how
many. The difference between busmon's number and the listener's has three parts: what was
lost, what the listener has yet to receive, and a little noise, since both receive a message
at slightly different moments. Only a loss lasts. So a rise of the difference counts as a
loss only if it lasts for two windows, shows in nearly every answer of the monitor, and
exceeds the noise. A loss may be reported late or not at all, but never by mistake.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from busmon.ledger.listener import Poll

SKEW_SECONDS = 0.5  # the listener may receive a message that much earlier or later than busmon
IGNORED_MESSAGES = 2  # a rise by no more than this is ignored: it may be noise
BASE_WINDOWS = 2  # windows that show the difference while nothing is lost
RISE_WINDOWS = 2  # windows for which a rise must last
MAX_WINDOWS = 12  # windows that are compared
OUTLIERS = 2  # answers of a window that may differ from the others, of at least 20
# A listener that received no more than the bus brought in this time may just have started.
YOUNG_SECONDS = 300.0


class Span(NamedTuple):
    """A window with its grace; Unix times."""

    start: float
    end: float


class Bounds(NamedTuple):
    """The least difference in a window: it is unsure by what SKEW_SECONDS can change."""

    low: int
    high: int


def count_missing(
    arrivals: Sequence[float], polls: Sequence[Poll], spans: Sequence[Span]
) -> int | None:
    """Return how many messages at least are missing since the windows before; None: not known.

    `arrivals` are the Unix times at which busmon received the messages that the listener
    should receive, too, from YOUNG_SECONDS before the first poll on. `spans` are consecutive
    windows, in all of which busmon received everything; the last one is asked for. All three
    are in order of time.

    A loss is part of the difference from then on, so that it is counted only once.
    """
    restarted = last_restart(arrivals, polls)
    unbroken = [span for span in spans if span.start > restarted]
    if len(unbroken) < BASE_WINDOWS + RISE_WINDOWS or unbroken[-1] != spans[-1]:
        return None
    answers = [[poll for poll in polls if start <= poll.at <= end] for start, end in unbroken]
    if not all(answers):
        return None
    # A listener that received nothing may still receive it: no loss yet, and no base either.
    moving = [within for within in answers if within[0].received < within[-1].received]
    if len(moving) < BASE_WINDOWS + RISE_WINDOWS or moving[-1] is not answers[-1]:
        return 0
    bounds = [_bounds(arrivals, within) for within in moving]
    base = max(high for _, high in bounds[:-RISE_WINDOWS])
    rise = min(low for low, _ in bounds[-RISE_WINDOWS:]) - base
    return rise if rise > IGNORED_MESSAGES else 0


def last_restart(arrivals: Sequence[float], polls: Sequence[Poll]) -> float:
    """Return the Unix time of the last poll before which the listener may have restarted.

    What it received between the poll before that and its restart is in no count. If it has
    already received as many messages again, a restart does not show. So a listener that
    could have received its whole count in YOUNG_SECONDS is taken for restarted.
    """
    return max((after.at for after in _restarts(arrivals, polls)), default=float("-inf"))


def _restarts(arrivals: Sequence[float], polls: Sequence[Poll]) -> Iterator[Poll]:
    for before, after in pairwise(polls):
        growth = after.received - before.received
        recent = _arrived(arrivals, after.at) - _arrived(arrivals, after.at - YOUNG_SECONDS)
        if growth < 0 or after.restarts != before.restarts or (growth and after.received <= recent):
            yield after


def _bounds(arrivals: Sequence[float], polls: Sequence[Poll]) -> Bounds:
    def least(shift: float) -> int:
        differences = sorted(_arrived(arrivals, poll.at + shift) - poll.received for poll in polls)
        return differences[min(OUTLIERS, len(differences) // 10)]

    return Bounds(least(-SKEW_SECONDS), least(SKEW_SECONDS))


def _arrived(arrivals: Sequence[float], until: float) -> int:
    return bisect_right(arrivals, until)
