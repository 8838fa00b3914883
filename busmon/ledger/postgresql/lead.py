"""Several busmons on one database: one leads, and the others follow.

The leader has a lock on the connection over which it writes. If it loses that connection, it has
to take the lock again before it can write; and if another one has led meanwhile, it may not. So
whatever it goes on to do by mistake, nothing of it is written.
"""

import psycopg

from busmon.ledger.engine import Members
from busmon.ledger.errors import LedgerInUseError, LedgerWriteError
from busmon.ledger.postgresql.connection import PostgresConnection
from busmon.ledger.postgresql.schema import NAME

LEAD_SECONDS = 2  # to wait until a busmon that was killed no longer has the lock
IDLE_SECONDS = 8  # after which the server ends the leader's connection: it hangs, or is cut off
LOST = "another busmon leads now"
LEADS = "that one leads"
LEADING, PRESENT = 0x6275736D02, 0x6275736D03  # keys of advisory locks: "busm" and a number
NOTE = f"""
INSERT INTO {NAME}.leader (id, replica, url) VALUES (1, ?, '')
ON CONFLICT (id) DO UPDATE SET replica = excluded.replica, url = ''
"""  # noqa: S608 - our own name
LEADER = f"SELECT replica, url FROM {NAME}.leader"  # noqa: S608 - our own name
# PostgreSQL shows a key as its upper and its lower half.
LOCKS = f"""
SELECT count(DISTINCT pid) FILTER (WHERE objid::bigint = {PRESENT & 0xFFFFFFFF}),
    coalesce(bool_or(objid::bigint = {LEADING & 0xFFFFFFFF}), false)
FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
WHERE locktype = 'advisory' AND granted AND datname = current_database()
    AND classid::bigint = {PRESENT >> 32} AND objsubid = 1
"""  # noqa: S608 - our own numbers


def join(db: PostgresConnection) -> None:
    """Be one of those that have the ledger, as long as the connection lives."""
    db.lock(f"SELECT pg_advisory_lock_shared({PRESENT})")


def take_lead(db: PostgresConnection, name: str, again: str | None = None) -> None:
    """Take the lead, as long as the connection lives; raise LedgerInUseError if another has it.

    A replica that led before takes it `again`, unless another one did since; see `confirm`.
    """
    if again and _leader(db) != again:
        raise LedgerInUseError(name, LOST)
    try:
        db.lock(
            f"SET lock_timeout = '{LEAD_SECONDS}s'; SET idle_session_timeout = '{IDLE_SECONDS}s';"
            f" SELECT pg_advisory_lock({LEADING})"
        )
    except psycopg.errors.LockNotAvailable as error:
        raise LedgerInUseError(name, LEADS) from error


def confirm(db: PostgresConnection, replica: str, *, led: bool) -> None:
    """Write that a replica, whose connection has the lock, leads.

    Raises LedgerWriteError if it has `led` before, and then another one did.
    """
    if led and _leader(db) != replica:
        raise LedgerWriteError(LOST)
    if not led:
        db.execute(NOTE, (replica,))


def _leader(db: PostgresConnection) -> str | None:
    found = db.run(LEADER).fetchone()
    return found and str(found[0])


def own(db: PostgresConnection, name: str) -> None:
    """Have the ledger alone as long as the connection lives; raise LedgerInUseError."""
    db.of_server.patience = 2 * LEAD_SECONDS + 1
    try:
        for key in (PRESENT, LEADING):  # in the order in which a busmon takes them: no deadlock
            db.lock(f"SET lock_timeout = '{LEAD_SECONDS}s'; SELECT pg_advisory_lock({key})")
    except psycopg.errors.LockNotAvailable as error:
        raise LedgerInUseError(name, "stop all of them first") from error


def members(db: PostgresConnection, replica: str) -> Members:
    """Return who has the ledger; `replica` asks."""
    replicas, led = db.run(LOCKS).fetchone()
    leader, url = db.run(LEADER).fetchone() or ("", "")
    return Members(replicas, led, leader == replica, url)


def announce(db: PostgresConnection, url: str) -> None:
    """Write where the leader answers: at this connection's own address, if `url` has none."""
    for unspecified in ("//0.0.0.0:", "//[::]:"):
        if unspecified in url:
            host = db.own_address()
            shown = f"[{host}]" if ":" in host else host
            url = url.replace(unspecified, f"//{shown}:")
    db.execute("UPDATE leader SET url = ?", (url,))
