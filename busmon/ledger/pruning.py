"""Forget what observers told, with the messages that it is about."""

from busmon.ledger.ledger import PRUNED_AT_ONCE, Ledger
from busmon.ledger.sqlite import milliseconds

# By table: the time by which a row is old, and its key. Each has an index on the time.
TABLES = {
    "reports": ("reported_at", "id, bus"),
    "tasks": ("received_at", "id"),
    "polls": ("polled_at", "polled_at, bus"),
}
OLDEST = "SELECT coalesce((SELECT received_at FROM seen ORDER BY seq LIMIT 1), ?)"


def prune(ledger: Ledger, now: float, retention: float, size_limit: int) -> bool:
    """Forget some rows that are older than `retention`, and tell whether there are more.

    A step as short as that of Ledger.prune: of each table at most PRUNED_AT_ONCE rows. While
    the file uses more than `size_limit` bytes that has forgotten messages before their time,
    so what is older than all that are left goes, too, and nothing else: a message without
    what was told of it would be taken for missing. Raises LedgerWriteError.
    """
    _, size = ledger.size()
    removed = []
    with ledger.transaction() as db:
        horizon = milliseconds(now - retention)
        if size > size_limit:
            (horizon,) = db.execute(OLDEST, (milliseconds(now),)).fetchone()
        for table, (time, key) in TABLES.items():
            statement = (
                f"DELETE FROM {table} WHERE ({key}) IN"  # noqa: S608 - names of our own
                f" (SELECT {key} FROM {table} WHERE {time} < ? ORDER BY {time} LIMIT ?)"
            )
            done = db.execute(statement, (horizon, PRUNED_AT_ONCE))
            removed.append(done.rowcount)
    return PRUNED_AT_ONCE in removed
