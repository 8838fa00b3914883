"""Whether what a queue kept still comes: what busmon lacks of a time is known only after that."""

from busmon.ledger.tables import Tables

QUIET_SECONDS = 120  # after reconnecting, until nothing that a queue kept still comes
BACKLOG_SECONDS = 3600  # after which what comes late holds up nothing
RECEPTION_GAP_SECONDS = 60.0  # busmon notes every 10 s that it receives


def has_caught_up(tables: Tables, bus: str, now: float) -> bool:
    """Return whether busmon receives from a bus, and nothing from before that comes any more."""
    last_end = tables.blind_times.last_end(bus, now) or 0.0
    quiet = now - last_end
    receiving = tables.blind_times.was_watched_at(bus, now - RECEPTION_GAP_SECONDS)
    if not receiving or quiet < QUIET_SECONDS:
        return False
    if quiet >= BACKLOG_SECONDS:
        return True
    return not tables.filled.has_backlog(bus, now - QUIET_SECONDS, last_end)
