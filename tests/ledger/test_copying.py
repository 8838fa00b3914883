"""A ledger in a file is copied to a database, row by row."""

import re
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from busmon.ledger.engines import open_read_only
from busmon.ledger.errors import LedgerError, LedgerInUseError
from busmon.ledger.ledger import Ledger
from busmon.ledger.postgresql.copying import copy
from busmon.ledger.values import shown_id, stored_id
from busmon.settings.postgresql import Database
from tests.ledger.sql import foreign, rows
from tests.support.ledger_server import LedgerServer
from tests.support.ledgers import counted, database_at, judged

REALS = (0.1, 1e-300, 12345678.9, 3.0, -0.5, 1e21)
OWN = {"versions", "shares"}  # tables that each ledger has for itself
IDS = (  # of each stored form
    str(UUID(int=7)),
    "0" * 31 + "a",
    "digest:" + "b" * 64,
    "plain",
    "fifteen letters",
    "é" * 300,
)


@pytest.fixture
def database(ledger_server: LedgerServer) -> Database:
    """An empty one."""
    return database_at(ledger_server.url_of(ledger_server.emptied()))


def columns(path: str) -> dict[str, list[tuple[str, str]]]:
    """Return the columns of each table, and their types; that of ids is empty."""
    tables = rows(path, "SELECT name FROM sqlite_schema WHERE type = 'table'")
    return {
        table: [(name, of) for _, name, of, *_ in rows(path, f"PRAGMA table_info({table})")]
        for (table,) in tables
        if table not in OWN
    }


def some_rows(of: list[tuple[str, str]]) -> Iterator[tuple[Any, ...]]:
    """Yield rows with every kind of value. No two have an equal number or text."""
    numbers = count(1)
    for n, identity in enumerate(IDS):
        text = f'"\t\\N\n{"" if n else chr(0)}é\u2603'
        others = {"REAL": REALS[n], "": stored_id(identity)}
        yield tuple(
            next(numbers)
            if kind == "INTEGER"
            else f"{next(numbers)}{text}"
            if kind == "TEXT"
            else others[kind]
            for _, kind in of
        )


def fill(path: str) -> dict[str, list[tuple[Any, ...]]]:
    """Fill each table; return the rows, as they should be read afterwards."""
    Ledger(path).close()
    one_row = {"clock", "audit_progress"}
    filled = {}
    with foreign(path) as db:
        for table, of in columns(path).items():
            some = list(some_rows(of))
            if table in one_row:
                some = [(1, *some[0][1:])]
            marks = ", ".join("?" * len(of))
            db.executemany(f"INSERT INTO {table} VALUES ({marks})", some)
            filled[table] = sorted(map(shown, some), key=repr)
    return filled


def shown(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row with ids as they are shown, and without the character NUL."""
    return tuple(
        shown_id(value)
        if isinstance(value, bytes)
        else value.replace("\0", "\N{REPLACEMENT CHARACTER}")
        if isinstance(value, str)
        else value
        for value in row
    )


def copied(path: str, database: Database, stop_at: str = "never") -> list[str]:
    """Copy a ledger and return what is reported; KeyboardInterrupt if that has `stop_at` in it."""
    reports: list[str] = []

    def report(line: str) -> None:
        reports.append(line)
        if stop_at in line:
            raise KeyboardInterrupt

    copy(path, database, report)
    return reports


def test_every_row_of_every_table_is_copied(path: str, database: Database) -> None:
    filled = fill(path)
    assert len(filled) > 25
    reports = copied(path, database)
    total = sum(map(len, filled.values()))
    assert reports[-1] == f"done: {total:,} rows in {len(filled)} tables are the same in both"
    for table, of in columns(path).items():
        names = ", ".join(column for column, _ in of)
        found = rows(database, f"SELECT {names} FROM {table}")
        assert sorted(map(shown, found), key=repr) == filled[table], table


def test_what_comes_after_a_copy_has_new_numbers_and_is_counted_once(
    path: str, database: Database
) -> None:
    with closing(Ledger(path)) as ledger:
        ledger.record(judged(*range(100), keys=("package hello",)))
    copied(path, database)
    with closing(Ledger(database)) as ledger:
        assert counted(ledger) == 100
        assert ledger.record(judged(*range(50, 150))).duplicates == 50
        assert len(ledger.record(judged(*range(150), bus="another")).new) == 150
        with ledger.read() as tables:
            assert tables.messages.count() == 300
            size = tables.shares.bytes()["messages"]
        ledger.prune(2e9, 0)
        with ledger.read() as tables:
            assert tables.shares.bytes()["messages"] < size  # and not below zero
            assert min(tables.shares.bytes().values()) >= 0


def test_an_interrupted_copy_goes_on_and_nobody_uses_it_before(
    path: str, database: Database
) -> None:
    fill(path)
    with pytest.raises(KeyboardInterrupt):
        copied(path, database, stop_at="series:")
    unfinished = re.escape(
        f"{database}: not all of a ledger has been copied to it; run `busmon ledger copy` again"
    )
    with pytest.raises(LedgerError, match=unfinished):
        Ledger(database)
    with pytest.raises(LedgerError, match=unfinished), open_read_only(database):
        pass
    reports = copied(path, database)
    assert "buses: 6 of 6 rows are there" in reports
    assert "subjects: 6 of 6 rows" in reports
    Ledger(database).close()


def test_a_copy_whose_connection_is_lost_says_so_and_goes_on_later(
    path: str, database: Database, ledger_server: LedgerServer
) -> None:
    fill(path)

    def disconnect(line: str) -> None:
        if "series:" in line:
            with pytest.raises(LedgerInUseError):
                Ledger(path)  # which would be written behind the copy's back
            ledger_server.disconnect()

    with pytest.raises(LedgerError, match="terminating connection due to administrator command"):
        copy(path, database, disconnect)
    copied(path, database)
    Ledger(database).close()


def test_a_copy_begins_anew_if_the_ledger_was_written_since(path: str, database: Database) -> None:
    with closing(Ledger(path)) as ledger:
        ledger.record(judged(*range(100)))
    with pytest.raises(KeyboardInterrupt):
        copied(path, database, stop_at="messages:")
    with closing(Ledger(path)) as ledger:
        ledger.record(judged(*range(100, 130)))
    reports = copied(path, database)
    assert not [line for line in reports if "are there" in line]
    with closing(Ledger(database)) as ledger:
        assert counted(ledger) == 130


def test_a_row_that_somebody_changed_meanwhile_is_found(path: str, database: Database) -> None:
    with closing(Ledger(path)) as ledger:
        ledger.record(judged(*range(100)))
    with pytest.raises(KeyboardInterrupt):
        copied(path, database, stop_at="messages:")
    rows(database, "UPDATE messages SET received_at = 1 WHERE seq = 70")
    text = f"{database}: differs from {path} in messages; run it again to copy all anew"
    with pytest.raises(LedgerError, match=re.escape(text)):
        copied(path, database)
    copied(path, database)
    with closing(Ledger(database)) as ledger:
        assert counted(ledger) == 100
