"""Read from the ledger what is compared by numbers."""

from busmon.audit.balance import Counts
from busmon.audit.counting import MAX_WINDOWS, YOUNG_SECONDS, Span, count_missing
from busmon.ledger.messages import Arrival
from busmon.ledger.tables import Tables
from busmon.message import Outcome
from busmon.settings.audit import Audit


def count(tables: Tables, bus: str, start: float, end: float, settings: Audit) -> Counts | None:
    """Return what the listener got of all messages of a window, or None where it is not known.

    Its monitor has to have been seen all the time from the window's start to the end of its
    grace, and busmon not to have been blind: only then may this be called.
    """
    window, grace = settings.window, settings.grace
    told = end + grace
    begun = _unbroken_since(tables, bus, start, told, grace)
    back = [Span(end - (n + 1) * window, told - n * window) for n in range(MAX_WINDOWS - 1, 0, -1)]
    spans = [*(span for span in back if span.start >= begun), Span(start, told)]
    first = spans[0].start
    polls = tables.listener.polls(bus, first, told)
    arrivals = tables.messages.arrivals(bus, first - YOUNG_SECONDS, told + 1)
    seen = [arrival.received_at for arrival in arrivals if _reaches_listener(arrival)]
    lost = count_missing(seen, polls, spans)
    if lost is None:
        return None
    came = sum(start <= at < end for at in seen)
    return Counts(messages=max(0, came - lost), missing=lost)


def _reaches_listener(arrival: Arrival) -> bool:
    """Return whether the listener counts it, or fedora-messaging refuses it before that."""
    kills = arrival.outcome == Outcome.ERROR and arrival.reason == "kills-consumer"
    return arrival.outcome != Outcome.INVALID and not kills


def _unbroken_since(tables: Tables, bus: str, start: float, told: float, grace: float) -> float:
    """Return since when both busmon and the listener's monitor were watched."""
    observed = tables.coverage.covered_since(f"ready:{bus}", start, told)
    blind = tables.blind_times.last_end(bus, told)
    # After a blind time comes what the broker kept meanwhile, and the listener had long ago.
    return max(start if observed is None else observed, -1.0 if blind is None else blind + grace)
