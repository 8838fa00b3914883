"""What is read for an answer does not grow with what is older than the answer."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from uuid import UUID

import pytest

from busmon.ledger.batch import Observation, Series
from busmon.ledger.engines import LedgerPlace
from busmon.ledger.ledger import Ledger
from busmon.ledger.parts import SeriesParts
from busmon.ledger.postgresql.connection import PostgresConnection
from busmon.ledger.search import Criteria
from busmon.ledger.tables import Tables
from busmon.ledger.windows import Place, Totals, WindowRow
from busmon.message import Stage
from busmon.settings.postgresql import Database
from tests.ledger.sql import rows, without_autovacuum
from tests.support.ledger_server import LedgerServer
from tests.support.ledgers import NOW, database_at

BUSY = Series("fedora", "a.topic", "ignored", "releng")
RARE = Series("fedora", "a.rare.topic", "handled", "")
GONE = Series("fedora", "gone", "handled", "")
OLDER = 12_000  # messages
NEW = 1_000
STEP = 1200.0  # seconds between two messages
DAY = 86_400.0
TODAY = NOW - DAY + STEP
SLACK = 2_000  # rows or steps: whole parts are read, in which the past can begin
STEPS = 4  # of SQLite's machine, which are counted as one
ROWS_READ = """
SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables
WHERE schemaname = 'busmon'
"""
READS: Mapping[str, Callable[[Tables], object]] = {
    "newest of a busy topic": lambda tables: tables.topics.newest("fedora", BUSY.topic, 25),
    "newest of a rare topic": lambda tables: tables.topics.newest("fedora", RARE.topic, 10),
    "newest of a topic that is gone": lambda tables: tables.topics.newest("fedora", "gone", 10),
    "sums": lambda tables: list(tables.topics.recent(int(TODAY // 3600), int(NOW // 3600) + 1)),
    "sums of a topic": lambda tables: tables.topics.by_time(
        "fedora", BUSY.topic, int(TODAY // 3600), int(NOW // 3600) + 1
    ),
    "sums to learn from": lambda tables: list(
        tables.hourly_sums.between(int(TODAY // 3600), int(NOW // 3600) + 1)
    ),
    "begin": lambda tables: tables.topics.begun(),
    "oldest": lambda tables: tables.messages.oldest(),
    "handled": lambda tables: tables.topics.handled_by_hour(int(TODAY // 3600), int(NOW // 3600)),
    "reached": lambda tables: list(tables.topics.reached(int(TODAY // 3600), int(NOW // 3600))),
    "windows": lambda tables: list(tables.windows.rows(TODAY)),
    "message": lambda tables: tables.messages.find(str(UUID(int=7))),
    "messages of a window": lambda tables: list(tables.messages.traces("fedora", NOW - 6000, NOW)),
    "search": lambda tables: tables.search.find(Criteria((("package new",),)), 10),
    "search by time": lambda tables: tables.search.find(Criteria(since=NOW - 9000), 10),
    "sent": lambda tables: list(tables.differences.sent("fedora", BUSY.topic, TODAY, NOW)),
    "service levels": lambda tables: tables.service_levels.first_pending(
        tables.messages.last() - 10, NOW - 120, NOW
    ),
    "absences": lambda tables: tables.absences.first_handled("fedora", TODAY),
    "clock": lambda tables: tables.clock.is_passed(NOW),
    "coverage": lambda tables: tables.coverage.is_covered("tap:fedora", TODAY, NOW),
    "blind time": lambda tables: tables.blind_times.between("fedora", TODAY, NOW),
}


def fill(ledger: Ledger, *numbers: range) -> None:
    """Record messages by their numbers, the oldest first; number 0 was received NOW."""
    for those in numbers:
        for start in range(those.start, those.stop, -1_000):
            some = range(start, max(those.stop, start - 1_000), -1)
            ledger.record([observation(number) for number in some])
        with ledger.write() as tables:
            for number in those[::5]:
                at = NOW - number * STEP
                row = WindowRow(at, at + 300, Place("fedora", BUSY.topic, Stage.BUS), Totals(5))
                tables.windows.add([row])


def observation(number: int) -> Observation:
    at, package = NOW - number * STEP, "new" if number < NEW else "old"
    series = GONE if number >= OLDER else RARE if number % 50 == 0 else BUSY
    keys = f"build {number // 5}", f"package {package}"
    return Observation(series, str(UUID(int=number)), at, at - 1, keys=keys)


def read(ledger: Ledger, ask: Callable[[Tables], object]) -> int:
    """Return how many rows PostgreSQL reads for an answer, or how many steps SQLite makes."""
    with ledger.read() as tables:
        db = tables.topics._db  # noqa: SLF001 - to look at what it does
        if isinstance(db, PostgresConnection):
            # In a small table, to read all of it takes less time.
            db.run("SET LOCAL enable_seqscan = off")
            before = db.run(ROWS_READ).fetchone()[0]
            ask(tables)
            return int(db.run(ROWS_READ).fetchone()[0] - before)
        assert isinstance(db, sqlite3.Connection)
        steps = count()
        db.set_progress_handler(lambda: next(steps) < 0, STEPS)
        ask(tables)
        db.set_progress_handler(None, STEPS)
        return next(steps)


@pytest.fixture(params=["sqlite", "postgresql"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Sequence[LedgerPlace]:
    """Where two ledgers are to be."""
    if request.param == "sqlite":
        return [str(tmp_path / name) for name in ("small.sqlite", "large.sqlite")]
    server: LedgerServer = request.getfixturevalue("ledger_server")
    databases = [database_at(server.url_of(server.database())) for _ in range(2)]
    for database in databases:
        Ledger(database).close()
        without_autovacuum(database)
    return databases


def test_what_is_read_for_an_answer_does_not_grow_with_the_past(
    places: Sequence[LedgerPlace],
) -> None:
    gone, between, new = range(OLDER + 999, OLDER - 1, -1), range(OLDER - 1, NEW - 1, -1), NEW - 1
    with closing(Ledger(places[0])) as small, closing(Ledger(places[1])) as large:
        fill(small, gone, range(new, -1, -1))
        fill(large, gone, between, range(new, -1, -1))
        for place in places:
            if isinstance(place, Database):
                rows(place, "ANALYZE")
        grown = {}
        for name, ask in READS.items():
            few, many = read(small, ask), read(large, ask)
            if many > few + SLACK:
                grown[name] = few, many
    assert grown == {}


def test_the_parts_of_a_rare_series_are_found_without_those_of_others(ledger: Ledger) -> None:
    busy, rare = 1, 2
    with ledger.write() as tables:
        parts = SeriesParts(tables.topics._db)  # noqa: SLF001 - as above
        parts.add([*((part, busy) for part in range(2 * SLACK)), (0, rare)])
    assert read(ledger, lambda tables: tables.topics._newest([rare], 10)) < SLACK  # noqa: SLF001
