"""The engines: which one has the ledger at a place."""

from contextlib import AbstractContextManager

from busmon.ledger.engine import Engine
from busmon.ledger.sqlite import file
from busmon.ledger.sqlite.engine import SqliteEngine
from busmon.ledger.tables import Tables
from busmon.settings.postgresql import Database

LedgerPlace = str | Database  # the path of a file, or a database of PostgreSQL


def open_engine(place: LedgerPlace, *, follows: bool = False) -> Engine:
    """Open a ledger for writing; raise LedgerError. A missing one is created.

    Several busmons can have one in PostgreSQL, all but one of which follow.
    """
    if isinstance(place, Database):
        from busmon.ledger.postgresql.engine import PostgresEngine

        return PostgresEngine(place, follows=follows)
    return SqliteEngine(place)


def open_read_only(
    place: LedgerPlace, seconds: float | None = None
) -> AbstractContextManager[Tables]:
    """Open a ledger for reading, whether a busmon writes it or not. What is read is of one moment.

    Raises LedgerError, also for the database's errors inside the with statement: TooSlow for a
    query that is not done so many seconds from now.
    """
    if isinstance(place, Database):
        from busmon.ledger.postgresql import engine

        return engine.open_read_only(place, seconds)
    return file.open_read_only(place, seconds)
