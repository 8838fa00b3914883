"""Forget what observers told with the messages that it is about."""

from busmon.ledger import PRUNED_AT_ONCE, Ledger
from busmon.storage import milliseconds

# By table: the time by which a row is old, and its key. Each has an index on the time.
TABLES = {
    "reports": ("reported_at", "id, bus"),
    "tasks": ("received_at", "id"),
    "polls": ("polled_at", "polled_at, bus"),
}


def forget(ledger: Ledger, now: float, retention: float, size_limit: int) -> bool:
    """Forget some rows that are older than `retention`, and tell whether there are more.

    A step as short as that of Ledger.prune: of each table at most PRUNED_AT_ONCE rows, the
    oldest in any case while the file uses more than `size_limit` bytes. Raises NotRecorded.
    """
    _, size = ledger.size()
    horizon = now - retention if size <= size_limit else now
    removed = []
    with ledger.transaction() as db:
        for table, (time, key) in TABLES.items():
            statement = (
                f"DELETE FROM {table} WHERE ({key}) IN"  # noqa: S608 - names of our own
                f" (SELECT {key} FROM {table} WHERE {time} <= ? ORDER BY {time} LIMIT ?)"
            )
            done = db.execute(statement, (milliseconds(horizon), PRUNED_AT_ONCE))
            removed.append(done.rowcount)
    return PRUNED_AT_ONCE in removed
