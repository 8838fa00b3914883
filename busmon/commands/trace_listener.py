"""What is known of the listener at the time when busmon received a message."""

from typing import NamedTuple

from busmon.audit.absences import absent_at
from busmon.ledger.coverage import MAX_GAP_SECONDS, observer_id
from busmon.ledger.messages import MessageRecord
from busmon.ledger.tables import Tables
from busmon.ledger.values import Interval
from busmon.sources.bus import Bus
from busmon.sources.listener_queue import ABSENCE, PREFETCHED, ListenerQueue
from busmon.text import format_span, format_time

PREFETCHED_SECONDS = 60.0  # a message waits no longer in a listener that keeps up


class ListenerState(NamedTuple):
    """The listener when busmon received a message; Unix times."""

    queue: ListenerQueue
    tap_heard: bool  # ever, over restarts
    tap_watched: bool = False  # the tap reported on this time
    monitor_answered: bool = False
    absent: tuple[float | None, float | None] | None = None  # no listener ran from, to
    ended: float | None = None  # it ended so soon afterwards that it may not have had its turn
    gone: Interval | None = None  # its queue was gone, known to a minute by looks at the broker


def listener_at(
    tables: Tables, record: MessageRecord, bus: Bus | None, now: float
) -> ListenerState:
    """Return what is known of the listener when busmon received the message."""
    queue = bus.listener_queue() if bus else ListenerQueue.UNKNOWN
    heard = tables.buses.tap_reported(record.bus) is not None
    at = record.received_at
    if at is None:
        return ListenerState(queue, heard)
    tap, monitor = (
        tables.coverage.is_covered(observer_id(kind, record.bus), at, at)
        for kind in ("tap", "ready")
    )
    runs = tables.coverage.intervals(observer_id("listener", record.bus))
    absent = None if monitor else absent_at(runs, at, now)
    looks = tables.coverage.intervals(observer_id("absent", record.bus))
    gone = next((one for one in looks if one.since <= at < one.until), None)
    return ListenerState(queue, heard, tap, monitor, absent, _end(runs, at, now), gone)


def describe_unreported(then: ListenerState) -> str:
    """Return why there may be no report of a message."""
    if then.absent:
        return f"no report: {_describe_absence(*then.absent)}; {ABSENCE[then.queue]}"
    if then.tap_watched:
        ended = "" if then.ended is None else f"; {describe_end(then)}"
        return f"no report, although its tap was reporting at that time{ended}"
    if then.gone:
        return f"no report; its queue was gone from {format_span(*then.gone)}, known to a minute"
    if not then.tap_heard:
        return "no report; no tap was ever heard of"
    answered = ", but the listener's monitor answered" if then.monitor_answered else ""
    return f"no report; no tap was reporting at that time{answered}"


def describe_end(then: ListenerState) -> str:
    """Return when the listener ended, and what became of what it had prefetched."""
    return f"it ended {format_time(then.ended or 0.0)}, and {PREFETCHED[then.queue]}"


def _describe_absence(since: float | None, until: float | None) -> str:
    if since is not None and until is not None:
        return f"as far as its tap shows, no listener ran from {format_span(since, until)}"
    if since is not None:
        return f"as far as its tap shows, no listener has run since {format_time(since)}"
    return f"no listener with a tap ran before {format_time(until or 0.0)}"


def _end(runs: list[Interval], at: float, now: float) -> float | None:
    """Return when the listener ended that ran at this time, if that was soon."""
    ends = [run.until for run in runs if run.since <= at <= run.until]
    end = max(ends, default=now)
    over = now - end >= MAX_GAP_SECONDS or any(run.since > end for run in runs)
    return end if over and end - at < PREFETCHED_SECONDS else None
