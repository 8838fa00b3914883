"""When the listener was absent: then its queue did not exist, and what came meanwhile is lost.

This holds if the listener's file says that its queue is deleted with its connection. Absences
are known from the runs of a listener with a tap: exactly, but for the last seconds of a killed
one. Without a tap they are known to a minute, from the looks that found the queue gone.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from busmon.ledger.coverage import MAX_GAP_SECONDS, observer_id
from busmon.ledger.tables import Tables
from busmon.ledger.values import Interval

# A killed listener may have passed a message on, and not have reported it yet.
UNREPORTED_SECONDS = 5.0  # after the first message that it did not report
SILENT_SECONDS = 15.0  # after its last report: it reports every 10 s, also without a message
LOOK_GAP_SECONDS = 150.0  # at most between two looks of one interval, also if one look failed
ENDED_SECONDS = 1.0  # between two times of one end, as a report takes some time to arrive


class AbsenceSource(StrEnum):
    """What knows of the listener's absences."""

    TAP = "tap"
    QUEUE = "queue"


class Absence(NamedTuple):
    """A time in which no listener had a queue; Unix times."""

    since: float
    until: float
    estimated: bool = False  # known to a minute
    # What came up to so many seconds before, and was not reported, is lost as well.
    unhandled: float = 0.0

    def overlaps(self, since: float, until: float) -> bool:
        """Return whether some of this time is in the absence."""
        return self.since < until and since < self.until


def absent_at(
    runs: Sequence[Interval], at: float, now: float
) -> tuple[float | None, float | None] | None:
    """Return since when and until when no listener ran at this time, None if one did.

    `runs` are the times in which a listener with a tap ran.
    """
    since = max((run.until for run in runs if run.since <= at), default=None)
    until = min((run.since for run in runs if run.since > at), default=None)
    if since is None and until is None:
        return None
    if since is not None and (at <= since or (until is None and now - since < MAX_GAP_SECONDS)):
        return None
    return since, until


def absences(
    tables: Tables, bus: str, source: AbsenceSource, grace: float, since: float = 0.0
) -> Iterator[Absence]:
    """Yield the absences of a bus's listener that ended after `since`, oldest first.

    For `grace` seconds after a blind time, the broker may send what it had kept before.
    """
    if source is AbsenceSource.QUEUE:
        yield from _while_gone(tables, bus, grace, since)
        return
    runs = tables.coverage.intervals(observer_id("listener", bus))
    for before, after in pairwise(runs):
        if after.since > since:
            yield from _between(tables, bus, before, after.since, grace)


def _between(
    tables: Tables, bus: str, last_run: Interval, until: float, grace: float
) -> Iterator[Absence]:
    """Yield the absences between a run and the next one."""
    since, unhandled = _end(tables, bus, last_run, grace)
    live = _after_blind_time(tables, bus, since - unhandled, grace)
    since, unhandled = max(since, live), max(0.0, since - live)
    if since >= until:
        return
    if not _was_seen(tables, bus, since, until):
        yield Absence(since, until, unhandled=unhandled)
        return
    for gone in _while_gone(tables, bus, grace, since):
        part = Absence(max(since, gone.since), min(until, gone.until), estimated=True)
        if part.since < part.until:
            yield part


def _end(tables: Tables, bus: str, run: Interval, grace: float) -> tuple[float, float]:
    """Return when a run surely was over, and `unhandled` of the absence that begins then."""
    ends = tables.coverage.intervals(observer_id("ended", bus))
    if any(abs(end.until - run.until) <= ENDED_SECONDS for end in ends):
        # It had reported everything, also of the time before.
        reported = tables.coverage.covered_since(observer_id("tap", bus), run.until, run.until)
        return run.until, 0.0 if reported is None else min(grace, run.until - reported)
    first = tables.absences.first_handled(bus, run.until)
    silent = run.until + SILENT_SECONDS
    return (silent if first is None else min(silent, first + UNREPORTED_SECONDS)), 0.0


def _after_blind_time(tables: Tables, bus: str, since: float, grace: float) -> float:
    """Return when busmon receives only what came after `since`."""
    blind_until = tables.blind_times.last_end(bus, since)
    return since if blind_until is None else max(since, blind_until + grace)


def _was_seen(tables: Tables, bus: str, since: float, until: float) -> bool:
    """Return whether its monitor answered, or its queue was there, within this time.

    Both are only known to the next answer or look, before which a short absence does not show.
    """
    seen = (
        interval
        for kind in ("ready", "present")
        for interval in tables.coverage.intervals(observer_id(kind, bus))
    )
    return any(
        since < seen_since < until
        or since < seen_until < until
        or (seen_since <= since and until <= seen_until and until - since > LOOK_GAP_SECONDS)
        for seen_since, seen_until in seen
    )


def _while_gone(tables: Tables, bus: str, grace: float, since: float) -> Iterator[Absence]:
    for gone in tables.coverage.intervals(observer_id("absent", bus)):
        if gone.until > since:
            begun = _after_blind_time(tables, bus, gone.since, grace)
            if begun < gone.until:
                yield Absence(begun, gone.until, estimated=True)
