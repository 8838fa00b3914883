"""Which version the tables in a database have; how they are made."""

from collections.abc import Mapping

from busmon import __version__
from busmon.ledger.errors import LedgerError
from busmon.ledger.postgresql.connection import WRITING, PostgresConnection, Types
from busmon.ledger.postgresql.schema import COLUMNS, INDEXES, NAME, counting, statements

VERSION = 5  # the first one, and SQLite's
UNFINISHED = "unfinished_copy"  # a table that is there until all of a ledger is copied
EXISTS = f"SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = '{NAME}')"  # noqa: S608 - our own name
ANY_TABLE = f"""
SELECT EXISTS (
    SELECT 1 FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = '{NAME}'
)
"""  # noqa: S608 - our own name


def is_new(db: PostgresConnection) -> bool:
    """Return whether the database has nothing in the schema `busmon` yet."""
    return not db.run(ANY_TABLE).fetchone()[0]


def create(db: PostgresConnection) -> None:
    """Make the tables, all or none, unless another busmon does so now."""
    with db.of_server.transaction():
        db.run(f"SELECT pg_advisory_xact_lock({WRITING})")
        if not is_new(db):
            return
        if not db.run(EXISTS).fetchone()[0]:
            db.run(f"CREATE SCHEMA {NAME}")
        db.run(f"SET LOCAL search_path = {NAME}, pg_temp")
        for statement in statements():
            db.run(statement)
        columns: dict[str, dict[str, str]] = {}
        for (table, column), of in _types(db).items():
            columns.setdefault(table, {})[column] = of
        for statement in counting(columns, db.run(INDEXES).fetchall()):
            db.run(statement)
        db.execute("INSERT INTO versions (version, busmon) VALUES (?, ?)", (VERSION, __version__))


def check(db: PostgresConnection, name: str, *, unfinished: bool = False) -> Types:
    """Return the types of all columns; raise LedgerError if the tables are not of this version.

    `unfinished`: it may be a copy that is not finished.
    """
    types, version = inspect(db, name)
    if not unfinished and any(table == UNFINISHED for table, _ in types):
        raise LedgerError(
            f"{name}: not all of a ledger has been copied to it; run `busmon ledger copy` again"
        )
    if version < VERSION:
        raise LedgerError(
            f"{name}: has ledger version {version}, and this busmon needs version {VERSION};"
            " make a backup, and run `busmon ledger migrate`"
        )
    return types


def inspect(db: PostgresConnection, name: str) -> tuple[Types, int]:
    """Return the types of all columns, and the version, this one or older; raise LedgerError."""
    (encoding,) = db.run("SHOW server_encoding").fetchone()
    if encoding != "UTF8":
        raise LedgerError(
            f"{name}: its encoding is {encoding}; busmon needs a database with the encoding UTF8"
        )
    types = _types(db)
    if not types:
        raise LedgerError(f"{name}: has no ledger yet; the first `busmon run` makes it")
    if ("versions", "busmon") not in types:
        raise LedgerError(f"{name}: not a ledger of busmon")
    newest = f"SELECT version, busmon FROM {NAME}.versions ORDER BY version DESC LIMIT 1"  # noqa: S608 - our own name
    version, busmon = db.run(newest).fetchone() or (0, "")
    if version > VERSION:
        raise LedgerError(
            f"{name}: written by busmon {busmon} (ledger version {version}; busmon {__version__}"
            f" knows version {VERSION}). Start that busmon again, or restore a backup: then all"
            " that was counted since is lost"
        )
    return types, version


def _types(db: PostgresConnection) -> Mapping[tuple[str, str], str]:
    return {(table, column): of for table, column, of in db.run(COLUMNS)}
