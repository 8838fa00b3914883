"""Windows in the ledger: what is closed when, and when there is no data."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from busmon.audit.windows import DAY_SECONDS
from busmon.ledger.coverage import MAX_GAP_SECONDS
from busmon.ledger.engines import open_read_only
from busmon.ledger.errors import LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.ledger.open_messages import State
from busmon.ledger.tables import Tables
from busmon.ledger.windows import Place, Totals, WindowRow, Windows
from busmon.message import UNJUDGED, Stage
from tests.ledger.sql import foreign_writer
from tests.support.audit import AUDIT, BUS, NOW, STAGES, TOPIC, AuditBench


def test_a_window_is_closed_after_its_grace_with_what_reached_each_stage(
    bench: AuditBench,
) -> None:
    bench.receive("1", "2", "3", "4")
    bench.report("1", "2", "3")
    bench.report("4", state="dropped")
    bench.work("1", "succeeded")
    bench.work("2", "failed")
    bench.receive("ignored", handled=False)
    bench.report("ignored")
    assert bench.close(NOW + 11.9) == 0
    assert bench.close(NOW + 12) == 1
    assert bench.totals() == {
        Stage.BUS: Totals(messages=4),
        Stage.LISTENER: Totals(messages=3, missing=1, unexpected=1),
        Stage.WORKER: Totals(messages=2, missing=1),
        Stage.HANDLERS: Totals(messages=1, missing=1),
    }
    assert bench.windows.closed_until() == NOW + 10


@pytest.mark.parametrize("reason", sorted(UNJUDGED))
def test_of_a_message_that_is_not_judged_nothing_is_expected(
    bench: AuditBench, reason: str
) -> None:
    bench.receive_judged("error", reason, "passed", "not passed")
    bench.report("passed")
    bench.work("passed")
    assert bench.close(NOW + 12) == 1
    assert bench.totals() == dict.fromkeys(STAGES, Totals())
    assert bench.missing() == set()


@pytest.mark.parametrize(
    ("tap", "celery", "covered"),
    [
        ((-100, 100), (-100, 100), STAGES),
        ((0, 12), (0, 12), STAGES),
        ((1, 100), (-100, 100), STAGES[:1]),
        ((-100, 11), (-100, 100), STAGES[:1]),
        ((-100, 100), (5, 100), STAGES[:2]),
    ],
)
def test_a_window_that_is_not_covered_has_no_data_of_the_stage(
    unwatched: AuditBench, tap: tuple[int, int], celery: tuple[int, int], covered: tuple[Stage, ...]
) -> None:
    bench = unwatched
    bench.watch("tap", NOW + tap[0], NOW + tap[1])
    bench.watch("celery", NOW + celery[0], NOW + celery[1])
    bench.receive("1", "2")
    bench.report("2")
    bench.close(NOW + 12 + MAX_GAP_SECONDS)
    missing = {stage for stage, totals in bench.totals().items() if totals.missing}
    assert missing == set(covered) - {Stage.BUS, Stage.HANDLERS}  # not yet expected there
    assert bench.totals()[Stage.BUS] == Totals(messages=2)
    assert bench.totals()[Stage.LISTENER].messages == 1  # what is known to be passed on counts
    no_data = {stage for stage, windows in bench.no_data().items() if windows}
    assert no_data == set(STAGES) - set(covered)
    rows = [row for stage in STAGES for row in bench.rows(stage)[:1]]
    assert {row.place.stage for row in rows if row.totals is None} == no_data
    unconfirmed = bench.open(State.UNCONFIRMED)
    assert bench.windows.unconfirmed() == Counter((BUS, stage) for stage, _ in unconfirmed)
    if Stage.LISTENER in no_data:  # "2" was passed on: only its worker is not known
        assert unconfirmed == {(Stage.LISTENER, "1"), (Stage.WORKER, "2")}
    else:
        assert unconfirmed == {(stage, "2") for stage in no_data - {Stage.HANDLERS}}


def test_a_window_waits_for_an_observers_next_sign_of_life(unwatched: AuditBench) -> None:
    bench = unwatched
    bench.receive("1")
    bench.watch("celery", NOW, NOW + 100)
    bench.watch("tap", NOW, NOW + 11)
    assert bench.close(NOW + 15) == 0
    bench.watch("tap", NOW, NOW + 16)
    assert bench.close(NOW + 16) == 1
    assert bench.totals()[Stage.LISTENER] == Totals(missing=1)


@pytest.mark.parametrize(
    ("since", "until", "data"), [(-9, -2, True), (-9, -1, False), (9, 99, False)]
)
def test_a_blind_time_and_a_grace_after_it_have_no_data(
    bench: AuditBench, since: int, until: int, data: bool
) -> None:
    """In the grace the broker sends what it kept."""
    bench.blind((NOW + since, NOW + until))
    bench.receive("1")
    bench.close(NOW + 12)
    assert bench.totals()[Stage.LISTENER].missing == data
    assert bench.totals()[Stage.BUS].messages == 1
    assert set(bench.no_data().values()) == {int(not data)}


def test_a_blind_time_that_has_not_ended_has_no_data(bench: AuditBench) -> None:
    bench.blind(watched_until=NOW + 9)
    bench.receive("1")
    assert bench.close(NOW + 12) == 0  # it may show yet that busmon received all the time
    assert bench.close(NOW + 12 + MAX_GAP_SECONDS) == 1
    assert bench.totals()[Stage.BUS] == Totals(messages=1)
    assert bench.totals()[Stage.LISTENER] == bench.totals()[Stage.WORKER] == Totals()
    assert bench.windows.unconfirmed() == {(BUS, Stage.LISTENER): 1}
    assert bench.no_data() == dict.fromkeys(STAGES, 1)


def test_after_a_long_absence_windows_are_closed_one_by_one(bench: AuditBench) -> None:
    now = NOW + 1000
    assert bench.windows.close_next(now, oldest=now - 35)  # older messages are not on record
    assert bench.windows.closed_until() == NOW + 970
    assert bench.close(now) == 2


def test_a_window_of_another_length_begins_where_the_last_one_ended(bench: AuditBench) -> None:
    bench.receive("1", at=NOW + 9)
    bench.receive("2", at=NOW + 11)
    bench.close(NOW + 12)
    bench.settings = AUDIT.model_copy(update={"window": 100})
    bench.restart()
    assert bench.close(NOW + 102) == 1
    assert bench.totals()[Stage.BUS] == Totals(messages=2)
    spans = [(row.start, row.until) for row in bench.rows(Stage.BUS)]
    assert spans == [(NOW, NOW + 10), (NOW + 10, NOW + 100)]


def test_windows_of_different_lengths_that_contain_a_time_are_read(bench: AuditBench) -> None:
    """The archive fills a long window that was closed before with short ones."""
    place, spans = Place(BUS, TOPIC, Stage.BUS), [(0, 100), (80, 90), (100, 110)]
    with bench.ledger.write() as tables:
        tables.windows.add_filled(
            WindowRow(NOW + start, NOW + until, place, Totals(1)) for start, until in spans
        )
    with bench.ledger.read() as tables:
        for since, count in ((NOW + 85, 3), (NOW + 90, 2), (NOW + 100, 1), (NOW + 110, 0)):
            assert len(list(tables.windows.rows(since))) == count


class _Paused(Windows):
    """Has read the totals, and waits."""

    def __init__(self, known: Windows, has_read: Event, go_on: Event) -> None:
        super().__init__(known._db)  # noqa: SLF001 - it reads the same
        self._has_read, self._go_on = has_read, go_on

    def totals(self) -> dict[Place, Totals]:
        found = super().totals()
        self._has_read.set()
        self._go_on.wait(60)
        return found


def test_totals_never_go_back_while_another_thread_reads_them(tmp_path: Path) -> None:
    """Prometheus would take a counter that goes down for a restart of busmon."""
    has_read, go_on, slow = Event(), Event(), Event()

    class SlowLedger(Ledger):
        @contextmanager
        def read(self, seconds: float | None = None) -> Iterator[Tables]:
            with super().read(seconds) as tables:
                if slow.is_set():
                    slow.clear()  # only once
                    tables.windows = _Paused(tables.windows, has_read, go_on)
                yield tables

    bench = AuditBench(str(tmp_path / "ledger.sqlite"))
    bench.ledger.close()
    with closing(SlowLedger(str(tmp_path / "ledger.sqlite"))) as bench.ledger:
        bench.restart()
        bench.receive("1")
        slow.set()
        refresh = Thread(target=bench.windows.refresh)
        refresh.start()
        assert has_read.wait(60)
        close = Thread(target=bench.windows.close_next, args=[NOW + 12 + MAX_GAP_SECONDS])
        close.start()
        close.join(1)  # it publishes now if nothing holds it up
        go_on.set()
        for thread in (refresh, close):
            thread.join()
        assert bench.totals()[Stage.BUS] == Totals(messages=1)


def test_a_window_that_could_not_be_written_is_closed_later(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    bench = AuditBench(path)
    with closing(bench.ledger):
        bench.receive("1")
        now = NOW + 12 + MAX_GAP_SECONDS
        with foreign_writer(path), pytest.raises(LedgerWriteError):
            bench.windows.close_next(now)
        assert bench.windows.closed_until() == NOW
        bench.restart()
        assert (bench.windows.closed_until(), bench.totals()[Stage.BUS]) == (NOW, Totals())
        bench.close(now)
        assert bench.totals()[Stage.BUS] == Totals(messages=1)


def test_old_windows_are_deleted_and_the_totals_stay(bench: AuditBench) -> None:
    bench.receive("1")
    bench.close(NOW + 12)
    totals = bench.windows.totals()
    assert not bench.windows.prune(NOW + DAY_SECONDS + 1, retention=3600)
    assert bench.rows(Stage.BUS) == bench.rows(Stage.LISTENER) == []
    assert bench.missing() == {(Stage.LISTENER, "1")}  # no age deletes an open gap
    bench.restart()
    assert bench.windows.totals() == totals


def test_windows_on_disk_are_read_beside_the_writer(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    bench = AuditBench(path)
    with closing(bench.ledger):
        for kind in ("tap", "celery"):
            bench.watch(kind, NOW, NOW + 100)
        bench.receive("1")
        bench.close(NOW + 12)
        with open_read_only(path) as tables:
            (missing,) = tables.gaps.listed(bus=BUS)
        assert (missing.stage, missing.id) == (Stage.LISTENER, "1")


def test_messages_with_an_empty_topic_are_counted(bench: AuditBench) -> None:
    bench.receive("1", at=NOW + 1, topic="")
    bench.blind((NOW + 2, NOW + 3))
    assert bench.close(NOW + 12) == 1
    assert bench.totals("")[Stage.BUS] == Totals(messages=1, no_data=1)


@pytest.mark.parametrize(("kind", "stage"), [("tap", Stage.LISTENER), ("celery", Stage.WORKER)])
def test_what_a_flood_makes_busmon_forget_opens_no_gap(
    bench: AuditBench, kind: str, stage: Stage
) -> None:
    """It is not known any more what was reported, as if nobody had watched."""
    bench.receive("1")
    bench.report("1")
    bench.work("1", "succeeded")
    bench.ledger.size_limit = 2**19
    if kind == "tap":
        bench.report(*(f"flood-{n}" for n in range(1000)), at=NOW + 1)
    else:
        with bench.ledger.write() as tables:
            for n in range(1000):
                tables.tasks.receive(f"flood-{n}", "task", NOW + 1)
    bench.close(NOW + 12)
    assert bench.missing() == set()
    assert bench.open(State.UNCONFIRMED) == {(stage, "1")}
    assert bench.no_data()[stage] == 1
    bench.receive("2", at=NOW + 15)
    bench.close(NOW + 22)
    assert bench.missing() == {(Stage.LISTENER, "2")}
