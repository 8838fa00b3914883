"""Read from the ledger what is compared by numbers."""

import sqlite3

from busmon.audit.balance import Counts
from busmon.audit.counting import MAX_WINDOWS, YOUNG_SECONDS, Poll, Span, count_missing
from busmon.ledger.sqlite import milliseconds
from busmon.settings.audit import Audit

OBSERVED = """
SELECT max(since) FROM observed WHERE observer = ? AND since <= ? AND until >= ?
"""
BLIND = """
SELECT max(until) FROM blind JOIN buses ON buses.id = blind.bus WHERE name = ? AND since <= ?
"""
POLLS = """
SELECT polled_at, received, restarts FROM polls
WHERE bus = ? AND polled_at >= ? AND polled_at <= ? ORDER BY polled_at
"""
# What the listener's own count leaves out: what fedora-messaging refuses before it.
SEEN = """
SELECT received_at FROM seen JOIN series ON series.id = seen.series
JOIN buses ON buses.id = seen.bus
WHERE name = ? AND received_at >= ? AND received_at <= ? AND outcome != 'invalid'
AND NOT (outcome = 'error' AND reason = 'kills-consumer') ORDER BY received_at
"""


def count(
    db: sqlite3.Connection, bus: str, start: float, end: float, settings: Audit
) -> Counts | None:
    """Return what the listener got of all messages of a window, or None where it is not known.

    Its monitor has to have been seen all the time from the window's start to the end of its
    grace, and busmon not to have been blind: only then may this be called.
    """
    window, grace = settings.window, settings.grace
    told = end + grace
    begun = _unbroken_since(db, bus, start, told, grace)
    back = [Span(end - (n + 1) * window, told - n * window) for n in range(MAX_WINDOWS - 1, 0, -1)]
    spans = [*(span for span in back if span.start >= begun), Span(start, told)]
    first = spans[0].start
    polled = db.execute(POLLS, (bus, milliseconds(first), milliseconds(told)))
    polls = [Poll(at / 1000, *numbers) for at, *numbers in polled]
    asked = bus, milliseconds(first - YOUNG_SECONDS), milliseconds(told + 1)
    seen = [at / 1000 for (at,) in db.execute(SEEN, asked)]
    lost = count_missing(seen, polls, spans)
    if lost is None:
        return None
    came = sum(start <= at < end for at in seen)
    return Counts(messages=max(0, came - lost), missing=lost)


def _unbroken_since(
    db: sqlite3.Connection, bus: str, start: float, told: float, grace: float
) -> float:
    """Return since when both busmon and the listener's monitor were watched."""
    span = milliseconds(start), milliseconds(told)
    (observed,) = db.execute(OBSERVED, (f"ready:{bus}", *span)).fetchone()
    (blind,) = db.execute(BLIND, (bus, span[1])).fetchone()
    # After a blind time comes what the broker kept meanwhile, and the listener had long ago.
    return max(float(observed) / 1000, -1.0 if blind is None else blind / 1000 + grace)
