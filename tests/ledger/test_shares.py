"""Each kind of row has its own share of the size limit, and the messages have the rest."""

from collections.abc import Callable, Iterable
from contextlib import closing
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest

from busmon.ledger.archive import Span
from busmon.ledger.incidents import Incident
from busmon.ledger.ledger import Ledger
from busmon.ledger.messages import MessageTrace
from busmon.ledger.open_messages import OpenMessage, State
from busmon.ledger.postgresql.schema import OTHERS
from busmon.ledger.shares import KINDS, LIMITED, ROWS_AT_ONCE
from busmon.ledger.tables import Tables
from busmon.ledger.tap_reports import TapReport
from busmon.ledger.tasks import Origin
from busmon.ledger.values import Interval
from busmon.ledger.windows import Place, Totals, WindowRow
from busmon.message import Stage
from tests.ledger.sql import foreign, without_autovacuum
from tests.ledger.version_1 import write_sample
from tests.support.ledger_server import LedgerServer
from tests.support.ledgers import NOW, counted, database_at, judged

BUS = "fedora"
LIMIT = 16 * 1024**2
TOPIC = "org.fedoraproject.prod.copr.build.end"

Add = Callable[[Tables, int], object]  # one row; the number counts up


def long(number: int) -> str:
    return f"{number}-{'x' * 240}"


def add_window(tables: Tables, n: int) -> None:
    place = Place(BUS, long(n), Stage.BUS)
    tables.windows.add([WindowRow(NOW + n, NOW + n + 1, place, Totals(1))])


def add_open(tables: Tables, n: int, state: State, identity: str = "") -> OpenMessage:
    trace = MessageTrace(identity or long(n), TOPIC, True, received_at=NOW + n)
    due = NOW + n if state is State.RUNNING else None
    message = OpenMessage(NOW + n, NOW + n + 1, BUS, Stage.LISTENER, state, trace, due)
    tables.open_messages.add([message])
    return message


def end_gap(tables: Tables, n: int) -> None:
    missing = add_open(tables, n, State.MISSING, str(uuid4()))
    tables.open_messages.move([(missing, State.RECOVERED)], NOW + n)


def add_hourly_sum(tables: Tables, n: int) -> None:
    tables.shares._db.execute(  # noqa: SLF001 - each would take a batch of messages
        "INSERT INTO hourly_sums (hour, series, messages) VALUES (?, ?, 1)",
        (NOW // 3600 + n // 100, 1000 + n * 61 % 100),
    )


def add_archive_sum(tables: Tables, n: int) -> None:
    hour = int(NOW // 3600) + n // 100
    tables.archive_sums.add_before(BUS, f"{n * 61 % 100}", Span(0, hour + 1), {hour: 1})


ROWS: dict[str, Add] = {
    "tap_reports": lambda tables, n: tables.tap_reports.add(
        BUS, [TapReport(str(uuid4()), TOPIC, "passed", str(uuid4()))], NOW + n
    ),
    "tap_reports, large": lambda tables, n: tables.tap_reports.add(
        BUS, [TapReport(long(n), long(n), "passed", long(n))], NOW + n
    ),
    "tap_reports, changed": lambda tables, n: tables.tap_reports.add(
        BUS,
        [TapReport(long(n), TOPIC, "dropped"), TapReport(long(n), TOPIC, "passed", long(n))],
        NOW + n,
    ),
    "tasks": lambda tables, n: tables.tasks.receive(str(uuid4()), "a.task", NOW + n),
    "tasks, of trees": lambda tables, n: tables.tasks.send(
        str(uuid4()), "a.task", NOW + n, Origin(str(uuid4()), str(uuid4()))
    ),
    "coverage": lambda tables, n: tables.coverage.start("tap:fedora", NOW + n),
    "blind_times": lambda tables, n: tables.blind_times.save(
        BUS, NOW + n + 1, 0, [Interval(NOW + n, NOW + n + 1)]
    ),
    "incidents": lambda tables, n: tables.incidents.save(
        [Incident(BUS, "listener", NOW + n, NOW + n, None, 0.0, ("x" * 200,), ("y" * 200,))]
    ),
    "incidents, changed": lambda tables, n: tables.incidents.save(
        Incident(BUS, "listener", NOW + n, NOW + n, None, 0.0, ("x" * 500,), ("y" * length,))
        for length in (1, 500)
    ),
    "windows": add_window,
    "missing_messages": lambda tables, n: add_open(tables, n, State.MISSING),
    "missing_messages, UUIDs": lambda tables, n: add_open(tables, n, State.MISSING, str(uuid4())),
    "unconfirmed_messages": lambda tables, n: add_open(tables, n, State.UNCONFIRMED),
    "running_messages": lambda tables, n: add_open(tables, n, State.RUNNING),
    "ended_messages": lambda tables, n: end_gap(tables, n),
    "hourly_sums": add_hourly_sum,
    "archive_sums": add_archive_sum,
}


def test_each_kind_is_tried() -> None:
    assert {rows.split(",")[0] for rows in ROWS} == set(KINDS)


@pytest.mark.parametrize("rows", [*ROWS, "messages"])
def test_what_a_kind_takes_in_a_database_is_known_too(
    rows: str, ledger_server: LedgerServer
) -> None:
    name = ledger_server.cleared()
    kind = rows.split(",")[0]
    of_kind = [KINDS[kind].table or kind] if kind in KINDS else OTHERS
    database = database_at(ledger_server.url_of(name))
    without_autovacuum(database, *of_kind)
    ledger_server.sql(f"TRUNCATE {', '.join(f'busmon.{table}' for table in of_kind)}", name)
    total = " + ".join(f"pg_total_relation_size('busmon.{table}')" for table in of_kind)
    empty = ledger_server.sql(f"SELECT {total}", name)[0][0]
    with closing(Ledger(database)) as ledger:
        if rows in ROWS:
            with ledger.write() as tables:
                for number in range(1000):
                    ROWS[rows](tables, number)
        else:
            for number in range(20):
                keys = f"build {number}", "package hello"
                ledger.record(judged(*(uuid4() for _ in range(500)), keys=keys))
        with ledger.read() as tables:
            known = sum(
                tables.shares.bytes()[one] for one in (of_kind if rows == "messages" else [kind])
            )
    grown = ledger_server.sql(f"SELECT {total} - {empty}", name)[0][0]
    assert isinstance(grown, int)
    assert grown <= known <= 2.5 * grown


def fill(ledger: Ledger, add: Add, numbers: Iterable[int]) -> int:
    """Add these rows; return how many bytes the ledger has grown by."""
    with ledger.write() as tables:
        before = ledger._engine.used_bytes(tables)  # noqa: SLF001 - in pages, nothing else says that
        for number in numbers:
            add(tables, number)
        return ledger._engine.used_bytes(tables) - before  # noqa: SLF001 - see above


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
@pytest.mark.parametrize("rows", ROWS)
def test_what_a_kind_takes_is_known_with_little_to_spare(rows: str, ledger: Ledger) -> None:
    table = rows.split(",")[0]
    grown = fill(ledger, ROWS[rows], range(5000))
    with ledger.read() as tables:
        assert grown <= tables.shares.bytes()[table] <= 2.5 * grown


WITH_A_SHARE = [rows for rows in ROWS if rows.split(",")[0] in LIMITED]


@pytest.mark.parametrize("rows", WITH_A_SHARE)
def test_no_kind_takes_more_than_its_share(rows: str, path: str) -> None:
    table = rows.split(",")[0]
    share = int((KINDS[table].share or 0) * LIMIT)
    numbers = count()
    with closing(Ledger(path, LIMIT)) as ledger:
        ledger.record(judged(*range(100)))
        for _ in range(400):
            fill(ledger, ROWS[rows], (next(numbers) for _ in range(500)))
            if ledger.dropped[table] > ROWS_AT_ONCE:
                break
        with ledger.read() as tables:
            assert 0.4 * share < tables.shares.bytes()[table] <= share
        while ledger.prune(NOW, retention=86400):
            pass
        assert ledger.pruned == {"age": 0, "size": 0}
        assert counted(ledger) == ledger.size()[0] == 100
    with foreign(path) as db:
        kind = KINDS[table]
        (newest,) = db.execute(f"SELECT max({kind.age}) FROM {kind.rows()}").fetchone()
    last = next(numbers) - 1
    added = NOW // 3600 + last // 100 if kind.age == "hour" else (NOW + last) * 1000
    assert newest >= added  # the oldest went


def test_together_the_shares_leave_nearly_half_to_the_messages(path: str) -> None:
    assert sum(kind.share or 0 for kind in KINDS.values()) < 0.55
    with closing(Ledger(path, LIMIT)) as ledger:
        while ledger.size()[1] - ledger.log_bytes() < 0.44 * LIMIT:
            ledger.record(judged(*(uuid4() for _ in range(1000))))
        messages = counted(ledger)
        for rows in WITH_A_SHARE:
            numbers = count()
            while ledger.dropped[rows.split(",")[0]] <= ROWS_AT_ONCE:
                fill(ledger, ROWS[rows], (next(numbers) for _ in range(2000)))
        while ledger.prune(NOW, retention=86400):
            pass
        assert ledger.pruned == {"age": 0, "size": 0}
        assert counted(ledger) == ledger.size()[0] == messages


def test_missing_messages_are_never_deleted_and_cost_no_other_message(path: str) -> None:
    with closing(Ledger(path, LIMIT)) as ledger:
        while ledger.size()[1] - ledger.log_bytes() < 0.4 * LIMIT:
            ledger.record(judged(*(uuid4() for _ in range(1000))))
        messages, gaps = counted(ledger), count()
        while ledger.size()[1] - ledger.log_bytes() < 1.5 * LIMIT:
            fill(ledger, ROWS["missing_messages, UUIDs"], (next(gaps) for _ in range(2000)))
        while ledger.prune(NOW, retention=86400):
            pass
        assert counted(ledger) == ledger.size()[0] == messages
        with ledger.read() as tables:
            (gap,) = tables.gaps.open().values()
        assert gap.messages == next(gaps)
        ledger.size_limit = LIMIT // 16  # of the messages, those go that are above the limit
        while ledger.prune(NOW, retention=86400):
            pass
        assert 0 < ledger.size()[0] < messages


def test_a_smaller_limit_is_reached_in_small_steps(path: str) -> None:
    with closing(Ledger(path)) as ledger:
        fill(ledger, ROWS["tap_reports"], range(20_000))
    with closing(Ledger(path, LIMIT // 8)) as ledger:
        steps = 1
        while ledger.prune(NOW, retention=86400):
            steps += 1
        assert steps > 1
        with ledger.read() as tables:
            assert tables.shares.above(LIMIT // 8) == []


def test_old_coverage_is_deleted(ledger: Ledger) -> None:
    with ledger.write() as tables:
        tables.coverage.add_span("tap:fedora", NOW - 900, NOW - 800, 0)
        tables.coverage.add_span("tap:fedora", NOW - 700, NOW - 500, 0)
    ledger.prune(NOW, retention=600)
    with ledger.read() as tables:
        assert tables.coverage.intervals("tap:fedora") == [Interval(NOW - 700, NOW - 500)]


def test_incidents_are_deleted_after_13_months(ledger: Ledger) -> None:
    months = 31 * 86400
    old, kept = (Incident(BUS, "bus", NOW - n * months, NOW - n * months) for n in (13.1, 12.9))
    with ledger.write() as tables:
        tables.incidents.save([old, kept])
    ledger.prune(NOW, retention=600)
    with ledger.read() as tables:
        assert tables.incidents.open() == [kept]


def test_after_a_migration_it_is_known_what_each_kind_takes(tmp_path: Path) -> None:
    path = write_sample(tmp_path)
    with closing(Ledger(path)) as ledger, ledger.write() as tables:
        for add in ROWS.values():
            add(tables, 1)
        known = tables.shares.bytes()
    with foreign(path) as db:
        for table, kind in KINDS.items():
            query = f"SELECT coalesce(sum({kind.size()}), 0) FROM {kind.rows()}"
            (size,) = db.execute(query).fetchone()
            assert known[table] == size
