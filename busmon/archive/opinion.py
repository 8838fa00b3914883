"""What the archive says of a topic that is silent, or low: pure, times are Unix seconds.

The archive is a second witness, and is never taken for the truth. Its times are those of the
publishers, whose clocks may be wrong. So only single messages that it has and the ledger has not
are evidence that busmon lost them, and what it has not is evidence of nothing by itself.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from busmon.archive.client import AHEAD_SECONDS, Found
from busmon.ledger.values import Interval
from busmon.text import format_time

# One message can be an accident: sent with a wrong clock, for example.
MIN_LACKING = 2
MAX_SPAN_SECONDS = 7 * 86400  # Datagrepper takes seconds to find a rare topic in a longer time
MIN_SPAN = 0.5  # of the silence, that the archive must know, to say something about it
BLIND_MARGIN_SECONDS = 60.0  # around a blind time: clocks differ
# The archive must have so much of what busmon received of other topics: what a publisher sends
# in a wrong form is not stored there, and the hours are by the publishers' clocks.
MIN_SHARE, MAX_LACK = 0.9, 10


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the archive says of a time in which busmon received nothing of a topic."""

    since: float = 0.0  # busmon's newest message is older
    lacking: int = 0  # messages from then on that the archive has, and the ledger has not
    more: bool = False  # at least so many: the others were not looked at
    unknown: str = ""  # why it cannot tell

    @property
    def lost(self) -> bool:
        """Whether others received messages that busmon did not."""
        return not self.unknown and self.lacking >= MIN_LACKING

    @property
    def confirms(self) -> bool:
        """Whether the archive received nothing either."""
        return not self.unknown and not self.lacking


class Comparison(NamedTuple):
    """The messages of a topic of which too few come, in the same hours."""

    since: float
    archive: int
    ours: int


@dataclass(frozen=True, slots=True)
class Opinions:
    """What the archive says of the topics of a bus."""

    silent: Mapping[str, Opinion] = field(default_factory=dict)
    low: Mapping[str, Comparison] = field(default_factory=dict)


class Newest(NamedTuple):
    """When busmon's newest message of a topic was received, and sent; None: it does not say."""

    received: float
    sent: float | None = None


def silent_span(newest: Newest, settled: float, now: float) -> Interval | str:
    """Return for which time to ask about a silent topic, in whole seconds, or why not to ask.

    Before `settled` the archive has all messages.
    """
    sent = newest.received if newest.sent is None else newest.sent
    if sent > newest.received + AHEAD_SECONDS:
        return "the clock of the publisher is ahead"
    # In the same second there may be others, which busmon has received.
    since = max(int(sent) + 1, int(settled) - MAX_SPAN_SECONDS)
    if int(settled) - since < MIN_SPAN * min(now - newest.received, MAX_SPAN_SECONDS):
        return f"it is only up to date until {format_time(settled)}"
    return Interval(since, int(settled))


def judge(
    since: float, found: Found, known: Collection[str], blind_times: Sequence[Interval]
) -> Opinion:
    """Return what an answer about a silent topic says. `known` are the ids that the ledger has.

    What was sent when busmon was blind is no evidence: that it was lost is known already.
    """
    lacking = {  # with another time, the same id can be there twice
        one.id
        for one in found.messages
        if one.id not in known and one.sent_at is not None and not _in(one.sent_at, blind_times)
    }
    return Opinion(since, len(lacking), more=found.total > len(found.messages))


def holes(of_others: Comparison) -> str:
    """Return that the archive lacks messages that busmon received of other topics; "" if not."""
    since, archive, ours = of_others
    if archive >= MIN_SHARE * ours - MAX_LACK:
        return ""
    return (
        f"it has holes: {archive} messages of other topics since {format_time(since)}, of which"
        f" busmon received {ours}"
    )


def _in(moment: float, intervals: Iterable[Interval]) -> bool:
    return any(
        since - BLIND_MARGIN_SECONDS <= moment <= until + BLIND_MARGIN_SECONDS
        for since, until in intervals
    )
