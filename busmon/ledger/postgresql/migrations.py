"""How the tables of an older version become today's. SQLite's have their own way."""

from collections.abc import Mapping

import psycopg

from busmon import __version__
from busmon.ledger.errors import LedgerError
from busmon.ledger.postgresql.engine import connected, explained
from busmon.ledger.postgresql.errors import explain
from busmon.ledger.postgresql.lead import own
from busmon.ledger.postgresql.schema import NAME
from busmon.ledger.postgresql.versions import VERSION, inspect
from busmon.settings.postgresql import Database

# What leads to each version from the one before, in SQL. The first version needs nothing.
STEPS: Mapping[int, str] = {}
MIGRATION_SECONDS = 86_400.0  # for one step: it can rewrite a table


def migrate(database: Database, steps: Mapping[int, str] = STEPS) -> tuple[int, int]:
    """Make the tables those of this version, in one transaction; return the versions.

    Raises LedgerError if that is not possible, or while a busmon runs.
    """
    name = str(database)
    with explained(name):
        db = connected(database, new=True)
        with db.of_server:
            own(db, name)
            db.of_server.patience = MIGRATION_SECONDS
            _, version = inspect(db, name)
            todo = range(version + 1, VERSION + 1)
            if not steps.keys() >= {*todo}:
                raise LedgerError(f"{name}: has version {version}, from which no step leads here")
            try:
                with db.of_server.transaction():
                    db.run(f"SET LOCAL search_path = {NAME}, pg_temp; SET LOCAL lock_timeout = 0")
                    for step in todo:
                        db.run(steps[step])
                        db.execute(
                            "INSERT INTO versions (version, busmon) VALUES (?, ?)",
                            (step, __version__),
                        )
            except psycopg.Error as error:
                raise LedgerError(f"{name}: nothing was changed: {explain(error)}") from error
    return version, VERSION
