"""How a ledger in a file is copied to a database.

The rows of a table are copied in the order of its key, some thousand in one transaction. So the
number of rows that are there says where to go on after an interruption. Until all are there, and
were compared, a table marks the copy as unfinished, and no busmon uses it.
"""

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from busmon.ledger.errors import LedgerError, LedgerInUseError
from busmon.ledger.postgresql.connection import PostgresConnection, without_nul
from busmon.ledger.postgresql.engine import READ_SECONDS, connected, explained
from busmon.ledger.postgresql.lead import own
from busmon.ledger.postgresql.schema import NAME
from busmon.ledger.postgresql.versions import UNFINISHED, check, create, is_new
from busmon.ledger.sqlite.file import reserved, written_at
from busmon.ledger.values import TextId
from busmon.settings.postgresql import Database

ROWS_AT_ONCE = 20_000  # in one transaction: some tenths of a second
ROWS_IN_MEMORY = 2_000  # of those that are compared
REPORT_SECONDS = 5.0
# Each database has its own; the triggers of the new one write its shares.
NOT_COPIED = {"versions", "shares", "leader", UNFINISHED}
SESSION = f"""
SET search_path = {NAME}, pg_temp; SET synchronous_commit = on; SET lock_timeout = '5s';
SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0
"""
IDENTITIES = f"""
SELECT table_name::text, column_name::text FROM information_schema.columns
WHERE table_schema = '{NAME}' AND is_identity = 'YES'
"""  # noqa: S608 - our own name

Row = tuple[Any, ...]
Report = Callable[[str], None]


class Table(NamedTuple):
    """A table that both ledgers have."""

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]  # in the database
    key: tuple[str, ...]

    def select(self) -> str:
        """Return the SQL for all rows."""
        return f"SELECT {', '.join(self.columns)} FROM {self.name}"  # noqa: S608 - our own names

    def rows(self, source: sqlite3.Connection, first: int = 0) -> Iterator[Row]:
        """Yield rows as the database stores them, in the order of the key."""
        query = f"{self.select()} ORDER BY {', '.join(self.key)} LIMIT -1 OFFSET ?"
        rows = source.execute(query, (first,))
        texts = [n for n, of in enumerate(self.types) if of in {"text", "bytea"}]
        ids = {n for n in texts if self.types[n] == "bytea"}
        if not texts:
            yield from rows
            return
        for row in rows:
            values = list(row)
            for n in texts:
                if isinstance(value := values[n], str):
                    values[n] = TextId(value).in_bytes() if n in ids else without_nul(value)
            yield tuple(values)


def copy(path: str, database: Database, report: Report) -> None:
    """Copy the ledger in a file, or go on with that, and compare all rows; raise LedgerError.

    No busmon may use either of them. `report` is called with lines about what is done.
    """
    try:
        _copy_all(path, database, report)
    except LedgerInUseError as error:
        raise LedgerError(f"{error.ledger}: in use by a busmon; stop it first") from error


def _copy_all(path: str, database: Database, report: Report) -> None:
    name = str(database)
    with reserved(path) as source, explained(name):
        target = connected(database, new=True)
        with target.of_server:
            own(target, name)
            target.of_server.patience = READ_SECONDS
            target.run(SESSION)
            if is_new(target):
                create(target)
            tables = list(_tables(source, target, name))
            _begin(target, tables, name, written_at(path))
            for table in tables:
                _copy(table, source, target, report)
            names = ", ".join(table.name for table in tables)
            target.run(f"ANALYZE {names}")
            report("comparing all rows")
            different = [table.name for table in tables if not _same(table, source, target, report)]
            if different:
                target.run(f"UPDATE {UNFINISHED} SET written = ''")  # noqa: S608 - our own name
                raise LedgerError(
                    f"{name}: differs from {path} in {', '.join(different)}; run it again to copy"
                    " all anew"
                )
            _finish(target)
        total = sum(_count(table, source) for table in tables)
        report(f"done: {total:,} rows in {len(tables)} tables are the same in both")


def _tables(source: sqlite3.Connection, target: PostgresConnection, name: str) -> Iterator[Table]:
    types = check(target, name, unfinished=True)
    query = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
    for (table,) in source.execute(query).fetchall():
        if table not in NOT_COPIED:
            found = source.execute(f"PRAGMA table_info({table})").fetchall()
            columns = tuple(column for _, column, *_ in found)
            key = sorted((place, column) for _, column, *_, place in found if place)
            of = tuple(types[table, column] for column in columns)
            yield Table(table, columns, of, tuple(column for _, column in key))


def _begin(target: PostgresConnection, tables: Iterable[Table], name: str, written: str) -> None:
    """Mark the copy as unfinished. If another ledger, or an older state of it, was, delete that."""
    with target.of_server.transaction():
        if not target.run(f"SELECT to_regclass('{NAME}.{UNFINISHED}')").fetchone()[0]:
            any_row = " OR ".join(f"EXISTS (SELECT 1 FROM {table.name})" for table in tables)  # noqa: S608 - our own names
            if target.run(f"SELECT {any_row}").fetchone()[0]:
                raise LedgerError(
                    f"{name}: already has a ledger; to replace it, stop its busmon, and run DROP"
                    f" SCHEMA {NAME} CASCADE there"
                )
            target.run(f"CREATE TABLE {UNFINISHED} (written text NOT NULL)")
        if target.run(f"SELECT written FROM {UNFINISHED}").fetchone() != (written,):  # noqa: S608 - our own name
            names = ", ".join(table.name for table in tables)
            target.run(f"TRUNCATE {names}, {UNFINISHED}; UPDATE shares SET bytes = 0")  # noqa: S608 - our own names
            target.execute(f"INSERT INTO {UNFINISHED} (written) VALUES (?)", (written,))  # noqa: S608 - our own name


def _copy(
    table: Table, source: sqlite3.Connection, target: PostgresConnection, report: Report
) -> None:
    total = _count(table, source)
    (done,) = target.run(f"SELECT count(*) FROM {table.name}").fetchone()  # noqa: S608 - our own name
    if done:
        report(f"{table.name}: {done:,} of {total:,} rows are there")
    rows, statement = table.rows(source, done), f"COPY {table.name} ({', '.join(table.columns)})"
    reported = time.monotonic()
    while done < total:
        with (
            target.of_server.transaction(),
            target.of_server.cursor() as cursor,
            cursor.copy(f"{statement} FROM STDIN".encode()) as copying,
        ):
            for row in islice(rows, ROWS_AT_ONCE):
                copying.write_row(row)
        done = min(total, done + ROWS_AT_ONCE)
        if done == total or time.monotonic() > reported + REPORT_SECONDS:
            reported = time.monotonic()
            report(f"{table.name}: {done:,} of {total:,} rows")


def _same(
    table: Table, source: sqlite3.Connection, target: PostgresConnection, report: Report
) -> bool:
    """Return whether both have the same rows. Their order is not the same, because of the ids."""
    if (number := _count(table, source)) > ROWS_AT_ONCE:
        report(f"{table.name}: comparing {number:,} rows")
    with target.of_server.transaction(), target.of_server.cursor("rows", binary=True) as cursor:
        cursor.itersize = ROWS_IN_MEMORY
        cursor.execute(table.select().encode())
        return _sums(table.rows(source)) == _sums(cursor)


def _sums(rows: Iterable[Row]) -> tuple[int, int]:
    """Return the number of rows, and the sum of what Python makes of each in this process."""
    number = total = 0
    for row in rows:
        number += 1
        total += hash(row)
    return number, total


def _finish(target: PostgresConnection) -> None:
    """Let new rows have the numbers after those that were copied, and the ledger be used."""
    with target.of_server.transaction():
        for table, column in target.run(IDENTITIES).fetchall():
            target.run(
                f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'),"  # noqa: S608 - our own names
                f" (SELECT coalesce(max({column}), 0) + 1 FROM {table}), false)"
            )
        target.run(f"DROP TABLE {UNFINISHED}")


def _count(table: Table, source: sqlite3.Connection) -> int:
    (number,) = source.execute(f"SELECT count(*) FROM {table.name}").fetchone()  # noqa: S608 - our own name
    return int(number)
