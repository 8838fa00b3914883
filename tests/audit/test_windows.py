"""The books in the ledger: closing, late reports, restarts, what nobody saw."""

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from busmon.audit.auditor import Auditor
from busmon.audit.corrections import AT_ONCE, LATE
from busmon.audit.windows import AuditWindows, Observed
from busmon.ledger.batch import Observation, Series
from busmon.ledger.coverage import MAX_GAP_SECONDS
from busmon.ledger.ledger import Ledger, LedgerWriteError
from busmon.ledger.listener import Poll
from busmon.ledger.messages import FINISHED
from busmon.ledger.open_messages import OpenMessage
from busmon.ledger.sqlite import open_read_only
from busmon.ledger.tables import Tables
from busmon.ledger.tap_reports import TapReport
from busmon.ledger.values import Interval
from busmon.ledger.windows import Totals, WindowRow
from busmon.message import Stage
from busmon.settings.audit import Audit
from tests.ledger.sql import foreign_writer

BUS = "fedora"
WEEK = 7 * 86400
NOW = 1_790_000_000.0  # a multiple of 10
AUDIT = Audit(window=10, grace=2, longest_task=30)
OBSERVED = Observed(tap=BUS, celery=BUS)
ALL = (Stage.BUS, Stage.LISTENER, Stage.WORKER)


class Bench:
    """A ledger, the facts put into it as busmon's own parts do, and the books."""

    def __init__(self, path: str = ":memory:", observed: Observed = OBSERVED) -> None:
        self.path, self.audit, self.observed = path, AUDIT, observed
        self.ledger = Ledger(path)
        self.restart()
        self.books.open(NOW)

    def restart(self) -> None:
        self.books = AuditWindows(self.ledger, self.audit, self.observed, [BUS])

    def see(self, identity: str, at: float = NOW, topic: str = "a", handled: bool = True) -> None:
        said = ("handled", "") if handled else ("ignored", "no")
        self.ledger.record([Observation(Series(BUS, topic, *said), identity, at)])

    def report(self, identity: str, state: str = "passed", at: float = NOW) -> None:
        task = f"task-{identity}" if state == "passed" else None
        with self.ledger.write() as tables:
            tables.tap_reports.add(BUS, [TapReport(identity, "a", state, task)], at)

    def work(self, identity: str, state: str = "succeeded") -> None:
        with self.ledger.write() as tables:
            tables.tasks.receive(f"task-{identity}", "task", NOW)
            tables.tasks.change(f"task-{identity}", state, NOW)

    def observe(self, observer: str, *spans: tuple[float, float]) -> None:
        """Let an observer have seen in these spans, too."""
        with self.ledger.write() as tables:
            for since, until in spans:
                tables.coverage.add_span(f"{observer}:{BUS}", since, until, max_gap=0)

    def blind(self, since: float, until: float) -> None:
        with self.ledger.write() as tables:
            now = NOW + 10_000
            tables.blind_times.save(BUS, now, until - since, [Interval(since, until)])

    def close(self, now: float) -> int:
        """Close what is due and correct what can be; returns how many windows were closed."""
        closed = 0
        while self.books.close_next(now):
            closed += 1
        while self.books.correct(now):
            pass
        return closed

    def sums(self, topic: str = "a") -> dict[Stage, Totals]:
        found = self.books.sums()
        return {stage: found.get((BUS, topic, stage), Totals()) for stage in ALL}

    def windows(self, stage: Stage) -> list[WindowRow]:
        """The windows at a stage, in order."""
        with self.ledger.read() as tables:
            return [row for row in tables.windows.rows(0) if row.place.stage is stage]

    def missing(self) -> set[tuple[Stage, str]]:
        """Stage and id of the messages that are missing now."""
        with self.ledger.read() as tables:
            return {(found.stage, found.trace.id) for found in _all_missing(tables)}


def _all_missing(tables: Tables) -> list[OpenMessage]:
    return tables.open_messages.missing(since=0, after=None, limit=10_000)


@pytest.fixture
def unobserved() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.ledger.close()


@pytest.fixture
def bench(unobserved: Bench) -> Bench:
    for observer in ("tap", "celery"):
        unobserved.observe(observer, (NOW - 100, NOW + 10_000))
    return unobserved


def test_a_window_is_closed_after_its_grace_and_says_what_came_where(bench: Bench) -> None:
    for n, (state, done) in enumerate(
        [("passed", "succeeded"), ("passed", "failed"), ("passed", None), ("dropped", None)]
    ):
        bench.see(str(n))
        bench.report(str(n), state)
        if done:
            bench.work(str(n), done)
    bench.see("ignored", handled=False)
    bench.report("ignored")
    assert bench.close(NOW + 11.9) == 0
    assert bench.close(NOW + 12) == 1
    assert bench.sums() == {
        Stage.BUS: Totals(messages=4),
        Stage.LISTENER: Totals(messages=3, missing=1, unexpected=1),
        Stage.WORKER: Totals(messages=2, missing=1),
    }
    assert bench.books.last_closed() == NOW + 10


def test_a_late_report_is_recovered_and_no_counter_goes_down(bench: Bench) -> None:
    bench.see("1")
    bench.close(NOW + 12)
    bench.report("1", at=NOW + 5000)
    bench.work("1")
    bench.close(NOW + 5000)
    bench.close(NOW + 5015)
    assert bench.sums() == {
        Stage.BUS: Totals(messages=1),
        Stage.LISTENER: Totals(missing=1, recovered=1),
        Stage.WORKER: Totals(messages=1),  # what was passed late is followed all the same
    }
    with bench.ledger.read() as tables:
        (found,) = tables.open_messages.history(BUS, "1")
    assert found == (Stage.LISTENER, NOW, NOW + 5000)


def test_a_report_after_more_than_a_day_corrects_nothing(bench: Bench) -> None:
    bench.see("1")
    bench.close(NOW + 12)
    bench.report("1")
    bench.close(NOW + LATE + 1)
    assert bench.sums()[Stage.LISTENER] == Totals(missing=1)


def test_a_task_that_runs_long_is_neither_done_nor_missing_until_it_ends(bench: Bench) -> None:
    for identity, state in (("1", "started"), ("2", "received")):
        bench.see(identity)
        bench.report(identity)
        bench.work(identity, state)
    bench.close(NOW + 12)
    assert bench.sums()[Stage.WORKER] == Totals()
    bench.work("1")
    bench.close(NOW + 20)
    assert bench.sums()[Stage.WORKER] == Totals(messages=1)
    bench.close(NOW + 39 + MAX_GAP_SECONDS)
    assert bench.sums()[Stage.WORKER] == Totals(messages=1)
    bench.close(NOW + 40 + MAX_GAP_SECONDS)
    assert bench.sums()[Stage.WORKER] == Totals(messages=1, missing=1)
    bench.work("2", "failed")
    bench.close(NOW + 100)
    assert bench.sums()[Stage.WORKER] == Totals(messages=1, missing=1, recovered=1)


def test_a_task_that_nobody_watched_to_its_end_is_no_data(unobserved: Bench) -> None:
    bench = unobserved
    bench.observe("tap", (NOW - 100, NOW + 10_000))
    bench.observe("celery", (NOW - 100, NOW + 20))
    bench.see("1")
    bench.report("1")
    bench.work("1", "started")
    bench.close(NOW + 12)
    bench.close(NOW + 40 + MAX_GAP_SECONDS)
    assert bench.sums()[Stage.WORKER] == Totals()
    assert bench.sums("")[Stage.WORKER].no_data >= 1
    assert bench.missing() == set()
    with bench.ledger.read() as tables:
        assert tables.open_messages.running(due=NOW + LATE, limit=1) == []


@pytest.mark.parametrize(
    ("tap", "celery", "told"),
    [
        ((-100, 100), (-100, 100), ALL),
        ((0, 12), (0, 12), ALL),
        ((1, 100), (-100, 100), (Stage.BUS,)),
        ((-100, 11), (-100, 100), (Stage.BUS,)),
        ((-100, 100), (5, 100), (Stage.BUS, Stage.LISTENER)),
    ],
)
def test_an_observer_that_missed_a_part_of_a_window_says_nothing_of_it(
    unobserved: Bench, tap: tuple[int, int], celery: tuple[int, int], told: tuple[Stage, ...]
) -> None:
    bench = unobserved
    bench.observe("tap", (NOW + tap[0], NOW + tap[1]))
    bench.observe("celery", (NOW + celery[0], NOW + celery[1]))
    bench.see("1")
    bench.see("2")
    bench.report("2")
    bench.close(NOW + 12 + MAX_GAP_SECONDS)
    missing = {stage for stage, sums in bench.sums().items() if sums.missing}
    no_data = {stage for stage, sums in bench.sums("").items() if sums.no_data}
    assert missing == set(told) - {Stage.BUS}
    assert no_data == set(ALL) - set(told)
    assert bench.sums()[Stage.BUS] == Totals(messages=2)
    first = {stage: bench.windows(stage)[0] for stage in ALL}
    assert {stage for stage, row in first.items() if row.totals is None} == no_data


def test_a_window_waits_for_an_observers_next_report(unobserved: Bench) -> None:
    bench = unobserved
    bench.observe("celery", (NOW - 100, NOW + 100))
    bench.see("1")
    bench.observe("tap", (NOW - 100, NOW + 11))
    assert bench.close(NOW + 15) == 0
    bench.observe("tap", (NOW - 100, NOW + 16))
    assert bench.close(NOW + 16) == 1
    assert bench.sums()[Stage.LISTENER] == Totals(missing=1)


@pytest.mark.parametrize(
    ("since", "until", "told"), [(-9, -2, True), (-9, -1, False), (9, 99, False)]
)
def test_while_busmon_was_blind_nothing_is_missing(
    bench: Bench, since: int, until: int, told: bool
) -> None:
    """And for a grace after it, when the broker sends what it kept."""
    bench.blind(NOW + since, NOW + until)
    bench.see("1")
    bench.close(NOW + 12)
    assert bench.sums()[Stage.LISTENER].missing == told
    assert bench.sums()[Stage.BUS].messages == 1
    assert [sums.no_data for sums in bench.sums("").values()] == [not told] * 3


def test_nothing_is_missing_before_a_blind_time_has_ended(bench: Bench) -> None:
    with bench.ledger.write() as tables:
        tables.blind_times.save(BUS, watched_until=NOW + 9, total=0, new=[])
    bench.see("1")
    assert bench.close(NOW + 12) == 0  # it may be seen yet that it was watched
    assert bench.close(NOW + 12 + MAX_GAP_SECONDS) == 1
    assert bench.sums() == {Stage.BUS: Totals(messages=1)} | dict.fromkeys(ALL[1:], Totals())
    assert [sums.no_data for sums in bench.sums("").values()] == [1, 1, 1]


def test_without_observers_only_the_bus_is_counted() -> None:
    assert Observed().stages(BUS) == (Stage.BUS,)
    assert OBSERVED.stages("centos") == (Stage.BUS,)
    assert Observed(tap=BUS, celery="centos").stages(BUS) == ALL[:2]
    assert Observed(celery=BUS).stages(BUS) == ALL[:1]


def test_after_a_long_absence_windows_are_closed_one_by_one(bench: Bench) -> None:
    now = NOW + 1000
    assert bench.books.close_next(now, oldest=now - 35)
    assert bench.books.last_closed() == NOW + 970
    assert bench.close(now) == 2


def test_a_window_of_another_length_begins_where_the_last_one_ended(bench: Bench) -> None:
    bench.see("1", NOW + 9)
    bench.see("2", NOW + 11)
    bench.close(NOW + 12)
    bench.audit = AUDIT.model_copy(update={"window": 100})
    bench.restart()
    assert bench.close(NOW + 102) == 1
    assert bench.sums()[Stage.BUS] == Totals(messages=2)
    spans = [(row.start, row.until) for row in bench.windows(Stage.BUS)]
    assert spans == [(NOW, NOW + 10), (NOW + 10, NOW + 100)]


def test_a_window_that_could_not_be_written_is_closed_later(tmp_path: Path) -> None:
    bench = Bench(str(tmp_path / "ledger.sqlite"))
    with closing(bench.ledger):
        bench.see("1")
        now = NOW + 12 + MAX_GAP_SECONDS
        with foreign_writer(bench.path), pytest.raises(LedgerWriteError):
            bench.books.close_next(now)
        assert bench.books.last_closed() == NOW
        bench.restart()
        assert (bench.books.last_closed(), bench.sums()[Stage.BUS]) == (NOW, Totals())
        bench.close(now)
        assert bench.sums()[Stage.BUS] == Totals(messages=1)


def test_a_great_many_missing_messages_are_recovered_step_by_step(bench: Bench) -> None:
    ids = [str(n) for n in range(AT_ONCE + 10)]
    for identity in ids:
        bench.see(identity)
    bench.close(NOW + 12)
    bench.report(ids[0])
    bench.report(ids[-1])
    assert bench.books.correct(NOW + 13)
    assert not bench.books.correct(NOW + 13)
    assert bench.sums()[Stage.LISTENER] == Totals(missing=len(ids), recovered=2)


def test_old_windows_are_deleted_and_the_sums_stay(bench: Bench) -> None:
    bench.see("1")
    bench.close(NOW + 12)
    sums = bench.books.sums()
    assert not bench.books.forget(NOW + LATE + 1, retention=3600)
    assert bench.windows(Stage.BUS) == []
    assert bench.missing() == set()
    bench.restart()
    assert bench.books.sums() == sums


def test_windows_on_disk_are_read_beside_the_writer(tmp_path: Path) -> None:
    bench = Bench(str(tmp_path / "ledger.sqlite"))
    bench.observe("tap", (NOW, NOW + 100))
    bench.observe("celery", (NOW, NOW + 100))
    with closing(bench.ledger):
        bench.see("1")
        bench.close(NOW + 12)
        with open_read_only(bench.path) as tables:
            assert [found.trace.id for found in _all_missing(tables)] == ["1"]


def test_an_empty_topic_stops_no_audit(bench: Bench) -> None:
    bench.see("1", NOW + 1, topic="")
    bench.blind(NOW + 2, NOW + 3)
    assert bench.close(NOW + 12) == 1
    assert bench.sums("")[Stage.BUS] == Totals(messages=1, no_data=1)


def test_every_series_of_a_known_topic_starts_at_zero(bench: Bench) -> None:
    bench.see("1", NOW - 3000)
    bench.see("2", NOW - 3000, topic="b", handled=False)
    auditor = Auditor(AUDIT, OBSERVED, bench.ledger, WEEK, [BUS])
    samples = {
        (sample.name.removeprefix("busmon_audit_"), *sample.labels.values()): sample.value
        for family in auditor.collect()
        for sample in family.samples
    }
    every = {("messages_total", BUS, "a", stage) for stage in ALL}
    for name in ("missing_total", "recovered_total"):
        every |= {(name, BUS, "a", stage) for stage in ALL[1:]}
    every |= {("unexpected_total", BUS, topic, "listener") for topic in ("a", "b")}
    every |= {("no_data_windows_total", BUS, stage) for stage in ALL}
    assert {key for key, value in samples.items() if not value} == every
    assert {key for key in samples if key[0] == "exact"} == {("exact", BUS, stage) for stage in ALL}
    assert samples["last_closed_timestamp_seconds",] == NOW


# By numbers: a monitor that is asked, and no tap

READY = Observed(ready=BUS, ready_interval=15)
LONG = 200  # seconds


class Counted(Bench):
    """One message a second; the listener loses some, and its monitor is asked each second."""

    def __init__(
        self,
        seconds: int = LONG,
        lost: Collection[int] = (),
        restart: float = LONG,
        hole: tuple[float, float] = (0, 0),
    ) -> None:
        super().__init__(observed=READY)
        good, bad = Series(BUS, "a", "handled", ""), Series(BUS, "a", "invalid", "schema")
        received = 10_000
        for n in range(seconds):
            self.ledger.record(
                [Observation(good, f"{n}", NOW + n), Observation(bad, f"{n}-bad", NOW + n)]
            )
            received += n not in lost
            self.answer(n + 0.5, received, restarts=int(n >= restart))
        begin, end = hole
        self.observe("ready", (NOW, NOW + begin), (NOW + end, NOW + seconds))

    def answer(self, after: float, received: int, restarts: int = 0) -> None:
        with self.ledger.write() as tables:
            tables.listener.add_poll(BUS, Poll(NOW + after, received, restarts))

    def listener(self) -> dict[int, Totals | None]:
        """What the listener's windows come to, by their number."""
        rows = self.windows(Stage.LISTENER)
        assert {(row.place.topic, row.exact) for row in rows} == {("", False)}
        return {int(row.start - NOW) // 10: row.totals for row in rows}


def test_without_a_tap_the_listener_is_balanced_by_numbers() -> None:
    bench = Counted(lost=range(100, 118, 2))
    with closing(bench.ledger):
        bench.close(NOW + LONG)
        assert bench.sums()[Stage.BUS] == Totals(messages=190)
        assert bench.sums()[Stage.LISTENER] == Totals()
        told = bench.sums("")[Stage.LISTENER]
        assert 0 < told.missing <= 9
        assert (told.messages, told.no_data) == (160 - told.missing, 3)
        windows = bench.listener()
        assert [windows[n] for n in range(4)] == [None, None, None, Totals(messages=10)]
        assert {n for n, totals in windows.items() if totals and totals.missing} <= {11, 12, 13}
        assert bench.missing() == set()
        assert {row.exact for row in bench.windows(Stage.BUS)} == {True}


@pytest.mark.parametrize("what", ["a blind time", "a hole", "a restart"])
def test_after_a_break_the_comparison_of_numbers_starts_again(what: str) -> None:
    restart = 104 if what == "a restart" else LONG
    hole = (103, 104) if what == "a hole" else (0, 0)
    bench = Counted(lost=range(102, 109), restart=restart, hole=hole)
    with closing(bench.ledger):
        if what == "a blind time":
            bench.blind(NOW + 103, NOW + 104)
        bench.close(NOW + LONG + MAX_GAP_SECONDS)
        windows = bench.listener()
        assert not any(totals.missing for totals in windows.values() if totals)
        unknown = [n for n, totals in windows.items() if totals is None]
        assert unknown[:7] == [0, 1, 2, 10, 11, 12, 13]


@pytest.mark.parametrize(
    ("observed", "stages"),
    [(READY, ALL[:2]), (Observed(), ALL[:1]), (READY._replace(tap=BUS, celery=BUS), ALL)],
)
def test_only_a_comparable_listener_without_a_tap_is_balanced_by_numbers(
    bench: Bench, observed: Observed, stages: tuple[Stage, ...]
) -> None:
    exact = {
        sample.labels["stage"]: sample.value
        for family in Auditor(AUDIT, observed, bench.ledger, WEEK, [BUS]).collect()
        for sample in family.samples
        if sample.name == "busmon_audit_exact"
    }
    assert exact == {stage: stage is Stage.BUS or observed.tap is not None for stage in stages}


def test_a_window_waits_for_a_monitor_that_is_polled() -> None:
    """Its next answer tells that it was there, and what it had received."""
    bench = Bench(observed=READY._replace(ready_interval=60))
    with closing(bench.ledger):
        bench.see("1")
        bench.observe("ready", (NOW, NOW + 11))
        assert bench.close(NOW + 12 + MAX_GAP_SECONDS) == 0
        bench.observe("ready", (NOW, NOW + 71))
        assert bench.close(NOW + 72) == 6


def test_what_is_missing_by_numbers_can_be_subtracted(bench: Bench) -> None:
    """The rules and panels take `recovered` off it, and a series without its like gives none."""
    series = {
        sample.name: [(*sample.labels.values(), sample.value)]
        for family in Auditor(AUDIT, READY, bench.ledger, WEEK, [BUS]).collect()
        for sample in family.samples
    }
    there = [(BUS, "", "listener", 0)]
    assert series["busmon_audit_missing_total"] == series["busmon_audit_recovered_total"] == there


# A model that knows nothing of SQL


class Model:
    """The same facts in sets, and what the books should come to."""

    def __init__(self) -> None:
        self.seen: dict[str, tuple[str, bool, float]] = {}  # topic, handled, received
        self.passed: set[str] = set()
        self.states: dict[str, str] = {}
        self.spans: dict[str, list[tuple[float, float]]] = {"tap": [], "celery": []}
        self.closed = NOW
        self.counts: Counter[tuple[str, Stage, str]] = Counter()
        self.missing: set[tuple[Stage, str]] = set()
        self.running: dict[str, tuple[float, float]] = {}  # start, due
        self.unknown: set[float] = set()
        self.starts: dict[str, float] = {}

    def finished(self, identity: str) -> bool:
        return self.states.get(identity) in FINISHED

    def covered(self, observer: str, start: float, end: float) -> bool:
        return any(s <= start and e >= end for s, e in self.spans[observer])

    def count(self, identity: str, stage: Stage, what: str) -> None:
        self.counts[self.seen[identity][0], stage, what] += 1

    def settle(self, now: float) -> None:
        while self.close(now):
            pass
        came = [
            (stage, i)
            for stage, i in self.missing
            if (i in self.passed if stage is Stage.LISTENER else self.finished(i))
        ]
        ended = [
            i
            for i, (_, due) in self.running.items()
            if self.finished(i) or due <= now - MAX_GAP_SECONDS
        ]
        for stage, i in came:
            self.missing.remove((stage, i))
            self.count(i, stage, "recovered")
            if stage is Stage.LISTENER:
                self.running[i] = self.starts[i], now + 30
        for i in ended:
            start, due = self.running.pop(i)
            if self.finished(i):
                self.count(i, Stage.WORKER, "messages")
            elif self.covered("celery", start, due):
                self.count(i, Stage.WORKER, "missing")
                self.missing.add((Stage.WORKER, i))
            elif start not in self.unknown:
                self.unknown.add(start)
                self.counts["", Stage.WORKER, "no_data"] += 1

    def close(self, now: float) -> bool:
        start, told = self.closed, self.closed + 12
        alive = all(any(e >= told for _, e in spans) for spans in self.spans.values())
        if now < told or (now < told + MAX_GAP_SECONDS and not alive):
            return False
        self.closed += 10
        tap = self.covered("tap", start, told)
        celery = tap and self.covered("celery", start, told)
        self.counts["", Stage.LISTENER, "no_data"] += not tap
        self.counts["", Stage.WORKER, "no_data"] += not celery
        if not celery:
            self.unknown.add(start)
        for i, (_, handled, at) in self.seen.items():
            if start <= at < start + 10:
                self.starts[i] = start
                self.enter(i, handled, tap, celery)
        return True

    def enter(self, i: str, handled: bool, tap: bool, celery: bool) -> None:
        if handled:
            self.count(i, Stage.BUS, "messages")
        if not tap:
            return
        if not handled:
            if i in self.passed:
                self.count(i, Stage.LISTENER, "unexpected")
            return
        if i not in self.passed:
            self.count(i, Stage.LISTENER, "missing")
            self.missing.add((Stage.LISTENER, i))
            return
        self.count(i, Stage.LISTENER, "messages")
        if not celery:
            return
        if self.finished(i):
            self.count(i, Stage.WORKER, "messages")
        elif i in self.states:
            self.running[i] = self.starts[i], self.starts[i] + 40
        else:
            self.count(i, Stage.WORKER, "missing")
            self.missing.add((Stage.WORKER, i))


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("see"), st.sampled_from("ab"), st.booleans()),
        st.tuples(st.just("see"), st.just("a"), st.just(True)),
        st.tuples(st.just("pass"), st.integers(0, 4)),
        st.tuples(st.just("drop"), st.integers(0, 4)),
        st.tuples(
            st.just("work"), st.integers(0, 4), st.sampled_from(["started", "succeeded", "failed"])
        ),
        st.tuples(st.just("wait"), st.sampled_from((1, 9, 13, 45, 80))),
        st.tuples(st.just("away"), st.sampled_from(["tap", "celery"]), st.integers(1, 60)),
        st.tuples(st.just("restart")),
    ),
    min_size=12,
    max_size=30,
)


@settings(max_examples=100, deadline=None)
@given(EVENTS)
def test_late_reports_absences_and_restarts_agree_with_a_model(events) -> None:
    bench, model, now = Bench(), Model(), NOW
    since = {"tap": NOW, "celery": NOW}
    up = {"tap": NOW, "celery": NOW}  # from when on it sees again

    def settle() -> None:
        for observer, spans in model.spans.items():
            if now >= up[observer]:
                if spans and spans[-1][0] == since[observer]:
                    spans.pop()
                spans.append((since[observer], now))
            bench.observe(observer, *spans)
        bench.close(now)
        model.settle(now)

    def wait(seconds: float) -> None:
        nonlocal now
        for _ in range(int(seconds)):
            now += 1
            settle()

    with closing(bench.ledger):
        for event in events:
            match event:
                case "see", topic, handled:
                    identity = str(len(model.seen))
                    model.seen[identity] = topic, handled, now
                    bench.see(identity, now, topic, handled)
                case "pass", n if str(n) in model.seen:
                    model.passed.add(str(n))
                    bench.report(str(n))
                case "drop", n if str(n) in model.seen and str(n) not in model.passed:
                    bench.report(str(n), "dropped")
                case "work", n, state if str(n) in model.passed and not model.finished(str(n)):
                    model.states[str(n)] = state
                    bench.work(str(n), state)
                case "wait", seconds:
                    wait(seconds)
                case "away", observer, seconds:
                    up[observer] = since[observer] = now + seconds
                case ("restart",):
                    bench.restart()
        wait(30)
        found = Counter()
        for (_, topic, stage), sums in bench.books.sums().items():
            for name, number in sums._asdict().items():
                found[topic, Stage(stage), name] += number
        assert +found == +model.counts
        assert bench.missing() == model.missing
        windows = Counter()
        for row in (row for stage in ALL for row in bench.windows(stage) if row.place.topic):
            _, topic, stage = row.place
            windows.update({(topic, stage, name): n for name, n in row.totals._asdict().items()})
        assert +windows == Counter({key: n for key, n in found.items() if n and key[0]})
