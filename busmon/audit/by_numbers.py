"""Compare by numbers: read what `counting` compares from the ledger."""

from busmon.audit.balance import Counts
from busmon.audit.counting import MAX_WINDOWS, YOUNG_SECONDS, Span, count_missing
from busmon.ledger.coverage import observer_id
from busmon.ledger.messages import Arrival
from busmon.ledger.tables import Tables
from busmon.message import UNJUDGED, Outcome
from busmon.settings.audit import Audit

NOT_COUNTED = UNJUDGED | {"kills-consumer"}


def count_by_numbers(
    tables: Tables, bus: str, start: float, end: float, settings: Audit
) -> Counts | None:
    """Return how many messages of a window the listener received, and how many it did not.

    Return None if that is not known. The window and its grace must be covered: busmon received
    all the time, and the listener's monitor answered all the time. Unix times.
    """
    window, grace = settings.window, settings.grace
    since = _covered_since(tables, bus, start, end + grace, grace)
    before = [end - n * window for n in range(MAX_WINDOWS - 1, 0, -1)]  # ends of earlier windows
    spans = [Span(at - window, at + grace) for at in before if at - window >= since]
    spans.append(Span(start, end + grace))
    first, last = spans[0].start, spans[-1].end
    polls = tables.listener.polls(bus, first, last)
    arrivals = [
        arrival.received_at
        for arrival in tables.messages.arrivals(bus, first - YOUNG_SECONDS, last + 1)
        if _is_counted(arrival)
    ]
    missing = count_missing(arrivals, polls, spans)
    if missing is None:
        return None
    received = sum(start <= at < end for at in arrivals)
    return Counts(messages=max(0, received - missing), missing=missing)


def _is_counted(arrival: Arrival) -> bool:
    """Return whether the listener surely counts the message.

    fedora-messaging refuses some before. Whether it refuses one that is not judged is not known.
    """
    return arrival.outcome != Outcome.INVALID and arrival.reason not in NOT_COUNTED


def _covered_since(tables: Tables, bus: str, start: float, end: float, grace: float) -> float:
    """Return since when both busmon and the listener's monitor have watched without a gap."""
    monitored = tables.coverage.covered_since(observer_id("ready", bus), start, end)
    blind_until = tables.blind_times.last_end(bus, end)
    received = float("-inf") if blind_until is None else blind_until + grace
    # After a blind time the broker sends what it kept. The listener had that long before.
    return max(start if monitored is None else monitored, received)
