"""Other programs that use the ledger's file."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from busmon.ledger.engines import LedgerPlace
from busmon.settings.postgresql import Database

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'busmon'"


@contextmanager
def foreign(path: str | Path) -> Iterator[sqlite3.Connection]:
    """Another program's connection to the ledger's file."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as db:
        yield db


def rows(place: LedgerPlace, sql: str) -> list[tuple[Any, ...]]:
    """Return what a statement of another program returns, or []."""
    if isinstance(place, str):
        with foreign(place) as db:
            return db.execute(sql).fetchall()
    with psycopg.connect(make_conninfo(**place.parameters), autocommit=True) as connection:
        connection.execute("SET search_path = busmon")
        cursor = connection.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


@contextmanager
def foreign_writer(path: str | Path) -> Iterator[None]:
    """Another program that writes, or just holds the lock for it: busmon cannot write."""
    with foreign(path) as db:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")


@contextmanager
def foreign_reader(path: str | Path) -> Iterator[None]:
    """Another program in the middle of a reading transaction."""
    with foreign(path) as db:
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM messages").fetchone()
        yield
        db.execute("ROLLBACK")


def message_ids(path: str | Path) -> list[object]:
    """Return the ids of all messages on record, in their stored form."""
    with foreign(path) as db:
        return [identity for (identity,) in db.execute("SELECT id FROM messages")]


def without_autovacuum(database: Database, *tables: str) -> None:
    """Let tables, by default all of them, be vacuumed and analyzed by nobody but the test."""
    for table in tables or [name for (name,) in rows(database, TABLES)]:
        rows(database, f"ALTER TABLE {table} SET (autovacuum_enabled = off)")


@contextmanager
def refusing(place: LedgerPlace) -> Iterator[None]:
    """Let no batch be written meanwhile."""
    rows(place, "ALTER TABLE hourly_sums RENAME TO elsewhere")
    try:
        yield
    finally:
        rows(place, "ALTER TABLE elsewhere RENAME TO hourly_sums")
