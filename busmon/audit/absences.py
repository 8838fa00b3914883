"""When the listener was absent: then its queue did not exist, and what came meanwhile is lost.

This holds if the listener's file says that its queue is deleted with its connection. Absences
are known from the runs of a listener with a tap: exactly, but for the last seconds of a killed
one. Without a tap they are known to a minute, from the looks that found the queue gone.
"""

import math
from bisect import bisect_left, bisect_right
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
MAX_RUNS = 1000  # of which the absences between are looked at, the newest


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
    known = _Known(tables, bus, grace)
    if source is AbsenceSource.QUEUE:
        yield from known.while_gone(since, math.inf)
        return
    runs = tables.coverage.intervals(observer_id("listener", bus))[-MAX_RUNS:]
    for before, after in pairwise(runs):
        if after.since > since:
            yield from known.between(before, after.since)


class _Known:
    """What is known of one bus's listener, beside the runs of its tap."""

    def __init__(self, tables: Tables, bus: str, grace: float) -> None:
        self._tables, self._bus, self._grace = tables, bus, grace
        self._ended, self._answered, self._present, self._gone = (
            tables.coverage.intervals(observer_id(kind, bus))
            for kind in ("ended", "ready", "present", "absent")
        )

    def between(self, last_run: Interval, until: float) -> Iterator[Absence]:
        """Yield the absences between a run and the next one."""
        since, unhandled = self._end(last_run)
        live = self._after_blind_time(since - unhandled)
        since, unhandled = max(since, live), max(0.0, since - live)
        if since >= until:
            return
        if self._was_seen(since, until):
            for gone in self.while_gone(since, until):
                yield gone._replace(since=max(since, gone.since), until=min(until, gone.until))
        else:
            for begun, ended in self._hearing(since, until):
                yield Absence(begun, ended, unhandled=unhandled if begun == since else 0.0)

    def while_gone(self, since: float, until: float) -> Iterator[Absence]:
        """Yield the absences that have some of this time, as the looks at the queue show them."""
        for gone in _overlapping(self._gone, since, until):
            begun = self._after_blind_time(gone.since)
            if begun < gone.until:
                yield Absence(begun, gone.until, estimated=True)

    def _end(self, run: Interval) -> tuple[float, float]:
        """Return when a run surely was over, and `unhandled` of the absence that begins then."""
        coverage, end = self._tables.coverage, run.until
        if list(_overlapping(self._ended, end - ENDED_SECONDS, end + ENDED_SECONDS)):
            # It had reported everything, also of the time before.
            reported = coverage.covered_since(observer_id("tap", self._bus), end, end)
            return end, 0.0 if reported is None else min(self._grace, end - reported)
        first = self._tables.absences.first_handled(self._bus, end)
        silent = end + SILENT_SECONDS
        return (silent if first is None else min(silent, first + UNREPORTED_SECONDS)), 0.0

    def _after_blind_time(self, since: float) -> float:
        """Return when busmon receives only what came after `since`."""
        blind_until = self._tables.blind_times.last_end(self._bus, since)
        return since if blind_until is None else max(since, blind_until + self._grace)

    def _hearing(self, since: float, until: float) -> Iterator[Interval]:
        """Yield the parts of a time in which busmon would have heard of a listener.

        While busmon does not run, one can run and end of which it never hears.
        """
        for blind in self._tables.blind_times.between(self._bus, since, until):
            if self._tables.coverage.is_covered(observer_id("queue", self._bus), *blind):
                continue  # it ran, and only had no connection
            if since < blind.since - UNREPORTED_SECONDS:
                yield Interval(since, blind.since - UNREPORTED_SECONDS)
            since = max(since, blind.until + self._grace)
        if since < until:
            yield Interval(since, until)

    def _was_seen(self, since: float, until: float) -> bool:
        """Return whether its monitor answered, or its queue was there, within this time.

        Both are only known to the next answer or look, before which a short absence does not
        show.
        """
        long = until - since > LOOK_GAP_SECONDS
        return any(
            long or since < seen.since < until or since < seen.until < until
            for intervals in (self._answered, self._present)
            for seen in _overlapping(intervals, since, until)
        )


def _overlapping(intervals: Sequence[Interval], since: float, until: float) -> Sequence[Interval]:
    """Return those that have some of this time, of intervals in order that do not overlap."""
    first = bisect_right(intervals, since, key=lambda interval: interval.until)
    end = bisect_left(intervals, until, key=lambda interval: interval.since)
    return intervals[first:end]
