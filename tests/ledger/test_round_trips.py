"""A database can be far away, and recording waits: many rows take few round trips."""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from busmon.audit.corrections import Correction, CorrectionKind, apply
from busmon.ledger.acceptances import Selection
from busmon.ledger.archive import Span
from busmon.ledger.filled import Fill
from busmon.ledger.incidents import Incident
from busmon.ledger.ledger import Ledger
from busmon.ledger.messages import MessageTrace
from busmon.ledger.open_messages import OpenMessage, State
from busmon.ledger.silence import DeficitRow, Pause
from busmon.ledger.tables import Tables
from busmon.ledger.tap_reports import TapReport
from busmon.ledger.values import Interval
from busmon.ledger.windows import Place, Totals, WindowRow
from busmon.message import Stage
from busmon.observers.celery_tasks import TaskEvents, TaskNames
from tests.support.brokers.proxy import Proxy
from tests.support.ledger_server import LedgerServer
from tests.support.ledgers import NOW, database_at, judged

BUS = "fedora"
ROWS = 400  # of which some writers have two or more
MOST = 25  # round trips; with one for each row there would be hundreds


def missing(stage: Stage = Stage.LISTENER) -> list[OpenMessage]:
    return [
        OpenMessage(NOW, NOW + 300, BUS, stage, State.MISSING, MessageTrace(str(n), f"t{n}", True))
        for n in range(ROWS)
    ]


def windows() -> list[WindowRow]:
    """Return a window of many topics, and without data at the worker."""
    places = [Place(BUS, f"t{n}", Stage.BUS) for n in range(ROWS)]
    return [
        *(WindowRow(NOW, NOW + 300, place, Totals(1, 2, 3)) for place in places),
        WindowRow(NOW, NOW + 300, Place(BUS, "", Stage.WORKER), None),
    ]


def events(tables: Tables) -> None:
    """Write events of trees, and of tasks of other trees."""
    collected = TaskEvents(TaskNames(["mine"], ["run_*"]))
    for n in range(ROWS // 8):
        for task, origin in (
            (f"r{n}", {}),
            (f"c{n}", {"root_id": f"r{n}"}),
            (f"o{n}", {"root_id": "x"}),
        ):
            name = "run_a" if origin else "mine"
            for state in ("sent", "received", "started", "succeeded"):
                event = {"type": f"task-{state}", "uuid": task, "name": name, **origin}
                assert collected.add(event, NOW)
    collected.write(tables.tasks, NOW)


def reports(task: str) -> Callable[[Tables], None]:
    return lambda tables: tables.tap_reports.add(
        BUS, [TapReport(str(n), "t", "passed", f"{task}{n}") for n in range(ROWS)], NOW
    )


def correct(tables: Tables) -> None:
    """Correct what `add open messages` left, as if all had been found twice."""
    found = [Correction(CorrectionKind.RECOVERED, message) for message in missing()]
    apply(tables, found * 2, NOW, {}, NOW)


def accept(tables: Tables) -> None:
    everything = Selection(NOW - 1, NOW + 1)
    number = tables.acceptances.add(everything, 1, "me", "lost", NOW)
    tables.acceptances.accept(number, tables.acceptances.matching(everything, None, ROWS), NOW)


WRITERS: dict[str, Callable[[Tables], object]] = {
    "reports": reports("a"),
    "reports of messages passed on again": reports("b"),
    "events of tasks": events,
    "windows": lambda tables: tables.windows.add(windows()),
    "windows again, by the archive": lambda tables: tables.windows.add_filled(windows()),
    "open messages": lambda tables: tables.open_messages.add(missing()),
    "corrections": correct,
    "open messages again": lambda tables: tables.open_messages.add(missing()),
    "accepted messages": accept,
    "blind times": lambda tables: tables.blind_times.save(
        BUS, NOW + ROWS, 1.0, [Interval(NOW + n, NOW + n + 0.5) for n in range(ROWS)]
    ),
    "filled messages": lambda tables: tables.filled.add(judged(*(f"f{n}" for n in range(ROWS)))),
    "fills": lambda tables: tables.filled.save(BUS, [Fill(n, n + 0.5) for n in range(ROWS)]),
    "no fills": lambda tables: tables.filled.forget(BUS, [Fill(n, n + 0.5) for n in range(ROWS)]),
    "sums of an archive": lambda tables: tables.archive_sums.add_before(
        BUS, "t", Span(0, ROWS), dict.fromkeys(range(ROWS), 1)
    ),
    "pauses": lambda tables: tables.silence.add_pauses(
        Pause(BUS, f"t{n}", 1, 2.0) for n in range(ROWS)
    ),
    "deficits": lambda tables: tables.silence.save_deficits(
        DeficitRow(BUS, f"t{n}", 1, 2.0, 3, 4.0) for n in range(ROWS)
    ),
    "awaited topics": lambda tables: tables.silence.set_awaited(
        {(BUS, f"t{n}"): NOW for n in range(ROWS)}
    ),
    "incidents": lambda tables: tables.incidents.save(
        Incident(BUS, "silent", NOW + n // 2, NOW + n) for n in range(ROWS)
    ),
}


@pytest.fixture
def proxy(ledger_server: LedgerServer) -> Iterator[Proxy]:
    with Proxy(ledger_server.port) as proxy:
        yield proxy


@pytest.fixture
def far(ledger_server: LedgerServer, proxy: Proxy) -> Iterator[Ledger]:
    """A ledger behind the proxy, which counts round trips."""
    url = ledger_server.url_of(ledger_server.cleared(), proxy.port)
    with closing(Ledger(database_at(url))) as ledger:
        yield ledger


def test_many_rows_are_written_in_few_round_trips(far: Ledger, proxy: Proxy) -> None:
    needed = {}
    for name, write in WRITERS.items():
        before = proxy.round_trips
        with far.write() as tables:
            write(tables)
        needed[name] = proxy.round_trips - before
    assert {name: number for name, number in needed.items() if number > MOST} == {}


def test_topics_are_merged_in_few_round_trips(far: Ledger, proxy: Proxy) -> None:
    topics = [f"t{n}" for n in range(60)]
    far.record(
        [one._replace(series=one.series._replace(topic=t)) for t in topics for one in judged(t)]
    )
    with far.write() as tables:
        tables.windows.add(windows())
    before = proxy.round_trips
    far.merge_topics(BUS, topics, "other")
    assert proxy.round_trips - before <= MOST
    assert {one.topic for one, count in far.counts().items() if count.messages} == {"other"}


def test_a_key_is_forgotten_in_few_round_trips(far: Ledger, proxy: Proxy) -> None:
    far.record([one for n in range(ROWS) for one in judged(n, keys=("owner:me", f"build:{n}"))])
    before = proxy.round_trips
    assert far.forget_key("owner:me", 0) == ROWS
    assert proxy.round_trips - before <= MOST


def test_a_batch_of_messages_is_recorded_in_few_round_trips(far: Ledger, proxy: Proxy) -> None:
    for batch in (
        judged(*range(ROWS), keys=("package:a",)),
        judged(*range(ROWS)),  # all are on record
        judged(*["the same content"] * ROWS, digest_id=True),
    ):
        before = proxy.round_trips
        far.record(batch)
        assert proxy.round_trips - before <= MOST
    assert far.size()[0] == 2 * ROWS
