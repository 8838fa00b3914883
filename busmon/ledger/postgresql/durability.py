"""Whether the server keeps what it has committed, also if its machine crashes."""

from busmon.ledger.postgresql.connection import PostgresConnection

# busmon sets synchronous_commit itself; nobody but the server's administrator can set these.
OFF = """
SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off'
ORDER BY name
"""


def warning(db: PostgresConnection) -> str | None:
    """Return which settings of the server endanger the ledger, and how; None if all is well."""
    names = " and ".join(name for (name,) in db.run(OFF))
    return names and (
        f"switched off in the server: {names}; if its machine crashes, what busmon has"
        " acknowledged may be lost, and the ledger damaged"
    )
