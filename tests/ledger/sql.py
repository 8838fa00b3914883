"""What only raw SQL can do to a ledger: other programs, a long past, tables that are away."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from busmon.ledger.batch import Observation, Series
from busmon.ledger.ledger import Ledger


@contextmanager
def foreign(path: str | Path) -> Iterator[sqlite3.Connection]:
    """Another program's connection to the ledger's file."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as db:
        yield db


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
        db.execute("SELECT count(*) FROM seen").fetchone()
        yield
        db.execute("ROLLBACK")


def past(ledger: Ledger, series: Series, hours: Mapping[int, int], last: float) -> None:
    """Let so many messages have come in each hour (of Unix time), the last at `last`."""
    ledger.record([Observation(series, series.topic, last)])
    with ledger.write() as tables:
        db = tables.hourly_sums._db  # noqa: SLF001 - to record them one by one takes minutes
        (number,) = db.execute(
            "SELECT series.id FROM series JOIN buses ON buses.id = bus"
            " WHERE (name, topic, outcome, reason) = (?, ?, ?, ?)",
            series,
        ).fetchone()
        db.executemany(
            "INSERT INTO hours (hour, series, messages) VALUES (?, ?, ?)"
            " ON CONFLICT (hour, series) DO UPDATE SET messages = excluded.messages",
            [(hour, number, messages) for hour, messages in hours.items() if messages],
        )
