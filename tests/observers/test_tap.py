"""/v1/reports: what is taken from the tap, what is refused, and what the ledger has of it then."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from busmon.ledger.sqlite import open_read_only
from busmon.ledger.tap_reports import TapReport
from busmon.ledger.values import shown_id, stored_id
from busmon.observers.tap import STATES
from busmon.settings.models import Web
from busmon.web.app import make_app
from busmon.web.health import ready_view
from busmon.web.reports import MAX_REQUEST_BYTES
from tests.ledger.sql import foreign_writer
from tests.support.ledgers import judged, unwritable
from tests.support.tap_reports import ID, NOW, TOKEN, TOPIC, Bench, batch, report
from tests.support.wsgi import ask


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.ledger.close()


def test_reports_are_on_disk_when_they_are_taken(tmp_path: Path) -> None:
    bench = Bench(str(tmp_path / "ledger.sqlite"))
    assert bench.post(batch(report(task="a task"), report("odd", "dropped"))) == (200, "taken\n")
    with open_read_only(str(tmp_path / "ledger.sqlite")) as tables:
        kept = set(tables.tap_reports.of("fedora"))
        (record,) = tables.messages.find(ID)
    assert kept == {
        TapReport(ID, TOPIC, "passed", "a task"),
        TapReport("odd", TOPIC, "dropped", None),
    }
    assert record.reported_at == NOW
    bench.ledger.close()


@pytest.mark.parametrize(
    ("first", "then", "kept"),
    [
        ("passed", "passed", "passed first"),
        ("passed", "dropped", "passed first"),
        ("passed", "raised", "passed first"),
        ("dropped", "passed", "passed then"),
        ("dropped", "dropped", "dropped first"),
        ("dropped", "raised", "dropped first"),
        ("raised", "passed", "passed then"),
        ("raised", "dropped", "dropped then"),
        ("raised", "raised", "raised first"),
    ],
)
def test_of_a_message_handled_twice_the_fullest_report_stays(
    bench: Bench, first: str, then: str, kept: str
) -> None:
    bench.post(batch(report(state=first, task="first")))
    bench.now += 60
    bench.post(batch(report(state=then, task="then"), seq=2))
    with bench.ledger.read() as tables:
        (found,) = tables.messages.find(ID)
    assert f"{found.report} {found.task}" == kept
    assert found.reported_at == NOW + 60 * (found.task == "then")


def test_a_batch_sent_again_counts_once(bench: Bench) -> None:
    for _ in range(3):
        bench.post(batch(report(), report("x", "dropped"), lost=5, seq=7))
    bench.post(batch(report("y"), lost=1, seq=8))
    bench.post(batch(report("z"), lost=2, seq=1, tap="another tap"))
    counts = {
        state: bench.value("busmon_tap_reports_total", bus="fedora", state=state)
        for state in ("passed", "dropped", "raised")
    }
    assert counts == {"passed": 3, "dropped": 1, "raised": 0}
    assert bench.value("busmon_tap_lost_reports_total", bus="fedora") == 8


@pytest.mark.parametrize(
    ("content", "environ", "status", "reason"),
    [
        (b"", {"REQUEST_METHOD": "GET"}, 405, "method"),
        (b"", {"REQUEST_METHOD": "HEAD"}, 405, "method"),
        (b"", {"REQUEST_METHOD": "PUT"}, 405, "method"),
        (batch(), {"HTTP_AUTHORIZATION": None}, 401, "token"),
        (batch(), {"HTTP_AUTHORIZATION": "Bearer wrong"}, 401, "token"),
        (batch(), {"HTTP_AUTHORIZATION": "Bearer \xe9"}, 401, "token"),
        (batch(), {"HTTP_AUTHORIZATION": "Bearer"}, 401, "token"),
        (batch(), {"HTTP_AUTHORIZATION": f"Basic {TOKEN}"}, 401, "token"),
        (batch(), {"CONTENT_TYPE": "text/plain"}, 415, "type"),
        (batch(), {"CONTENT_TYPE": ""}, 415, "type"),
        (batch(), {"CONTENT_LENGTH": ""}, 411, "length"),
        (batch(), {"CONTENT_LENGTH": None}, 411, "length"),
        (b"x" * (MAX_REQUEST_BYTES + 1), {}, 413, "size"),
        (b"", {"CONTENT_LENGTH": "9" * 4000}, 413, "size"),
        (b"", {"CONTENT_LENGTH": "7"}, 400, "length"),
        (b"", {}, 400, "malformed"),
        (b"{}", {}, 400, "malformed"),
        (b"\xff", {}, 400, "malformed"),
        (b"[" * 100_000, {}, 400, "malformed"),
        (batch(seq=0), {}, 400, "malformed"),
        (batch(seq="1"), {}, 400, "malformed"),
        (batch(seq=10**30), {}, 400, "malformed"),
        (batch(since=float("nan")), {}, 400, "malformed"),
        (batch(since=float("inf")), {}, 400, "malformed"),
        (batch(until=-1), {}, 400, "malformed"),
        (batch(tap="x" * 256), {}, 400, "malformed"),
        (batch(*[report()] * 1001), {}, 400, "malformed"),
        (batch(last=1), {}, 400, "malformed"),
        (batch(lost=True), {}, 400, "malformed"),
        (batch(bus="\ud800"), {}, 403, "bus"),
        (b'{"reports":' + b"[" * 100_000, {}, 400, "malformed"),
        (batch(report(), bus="centos"), {}, 403, "bus"),
        (json.dumps(batch(report())).encode()[:-1] + b', "bus": "centos"}', {}, 403, "bus"),
    ],
)  # fmt: skip
def test_refused_batches_are_counted_by_reason_and_not_kept(
    bench: Bench, content: object, environ: dict[str, str | None], status: int, reason: str
) -> None:
    answered, text = bench.post(content, **environ)
    assert (answered, bench.refused(), bench.stored()) == (status, {reason: 1}, [])
    assert len(text) < 100
    assert TOKEN not in text
    assert not bench.tap.up()


def test_the_token_is_compared_in_constant_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the time of a refusal would show how much of a guess is right."""
    wrong = {"HTTP_AUTHORIZATION": "Bearer wrong"}
    assert bench.post(batch(), **wrong)[0] == 401
    monkeypatch.setattr("hmac.compare_digest", lambda *_: True)
    assert bench.post(batch(), **wrong)[0] == 200


def test_an_error_says_where_it_is_and_repeats_nothing(bench: Bench) -> None:
    answer = "malformed: Expected `int`, got `str` - at `$.seq`\n"
    assert bench.post(batch(report(), seq="s3cret")) == (400, answer)


@pytest.mark.parametrize(
    "odd",
    [
        {"id": "x"},
        report(""),
        report("x" * 256),
        report(state="lost"),
        report() | {"topic": "x" * 256},
        report() | {"task": ""},
        report() | {"task": 1},
        [[[]]] * 1000,
        None,
        "x",
        5,
    ],
    ids=range(11),
)
def test_a_malformed_report_is_counted_and_costs_no_other(bench: Bench, odd: object) -> None:
    honest = [report(str(n)) for n in range(150)]
    assert bench.post(batch(*honest[:70], odd, *honest[70:])) == (200, "taken\n")
    assert {kept.id for kept in bench.stored()} == {each["id"] for each in honest}
    assert bench.refused() == {}
    assert bench.value("busmon_tap_malformed_reports_total", bus="fedora") == 1
    assert bench.value("busmon_tap_reports_total", bus="fedora", state="passed") == 150


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("a\ud800", "a\ufffd"),
        ("\udcffb", "\ufffdb"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("\U0001f600", "\U0001f600"),
        (r"\ud800", r"\ud800"),
        ("\\\ud800", "\\\ufffd"),
    ],
)
def test_half_a_character_in_an_id_costs_no_other_report(
    bench: Bench, sent: str, kept: str
) -> None:
    assert bench.post(batch(report("1"), report(sent), report("\udfff")))[0] == 200
    expected = {shown_id(stored_id(identity)) for identity in ("1", kept, "\ufffd")}
    assert {found.id for found in bench.stored()} == expected


def test_without_the_setting_there_is_no_such_page() -> None:
    app = make_app(Web(), CollectorRegistry(), ready_view(list), str)
    assert ask(app, "/v1/reports", "POST").status == "404 Not Found"


def test_while_the_ledger_cannot_write_the_tap_is_asked_to_retry(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    bench = Bench(path)
    with unwritable(path):
        assert bench.post(batch(report()))[0] == 503
    assert bench.refused() == {"ledger": 1}
    assert bench.post(batch(report()))[0] == 200
    assert bench.value("busmon_tap_reports_total", bus="fedora", state="passed") == 1
    bench.ledger.close()


scalars = [None, True, 0, 1, -1, 2**70, 0.5, float("nan"), float("inf")]
texts = ["", "x", "\ud800", "\0", "x" * 300]
anything = st.sampled_from([*scalars, *texts, [], [1], {}, {"id": "x"}, batch(report())])
text = st.text(max_size=5) | anything
reports = st.fixed_dictionaries(
    {"id": text, "state": st.sampled_from(["passed", "raised"]) | anything},
    optional={"topic": text, "task": text},
)
keys = st.sampled_from([*batch(), "last", "unknown"])
damaged = st.builds(
    lambda changes, given: json.dumps(batch(*given) | changes).encode(),
    st.dictionaries(keys, anything, max_size=2),
    st.lists(reports, max_size=3),
)


@settings(deadline=None)  # opening a ledger takes as long as it takes
@given(content=st.binary() | damaged, sent_type=st.sampled_from(["application/json", "x"]))
def test_whatever_is_sent_is_taken_or_refused_and_never_an_error(
    content: object, sent_type: str
) -> None:
    bench = Bench()
    status, _ = bench.post(content, CONTENT_TYPE=sent_type)
    assert status in {200, 400, 403, 415}
    assert (status == 200) == (not bench.refused())
    if status == 200:
        values = [
            bench.value("busmon_tap_malformed_reports_total", bus="fedora"),
            *(bench.value("busmon_tap_reports_total", bus="fedora", state=s) for s in STATES),
        ]
        assert isinstance(content, bytes)
        assert sum(filter(None, values)) == len(json.loads(content)["reports"])
    else:
        assert not bench.stored()
    bench.ledger.close()


class Lives:
    """A process of the listener, as its tap reports it; seconds after NOW."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.batches: Counter[str] = Counter()

    def reports(self, at: float, since: float, *, tap: str = "a", **changes: Any) -> None:
        self.batches[tap] += 1
        self.bench.now = NOW + at
        sent = batch(since=at - since, tap=tap, seq=self.batches[tap], **changes)
        assert self.bench.post(sent)[0] == 200

    def covered(self, start: float, end: float) -> bool:
        with self.bench.ledger.read() as tables:
            return tables.coverage.is_covered("tap:fedora", NOW + start, NOW + end)


def test_time_is_covered_from_the_first_report_to_the_last(bench: Bench) -> None:
    tap = Lives(bench)
    tap.reports(10, since=0)
    tap.reports(20, since=10)
    assert (tap.covered(0, 20), tap.covered(-1, 20), tap.covered(0, 21)) == (True, False, False)


def test_time_reported_late_is_covered_too(bench: Bench) -> None:
    tap = Lives(bench)
    tap.reports(10, since=0)
    tap.reports(3600, since=10, until=1800)  # half of what waited
    assert (tap.covered(0, 1800), tap.covered(0, 1801)) == (True, False)
    tap.reports(3601, since=1800)
    assert tap.covered(0, 3601)


def test_time_with_lost_reports_is_not_covered(bench: Bench) -> None:
    tap = Lives(bench)
    tap.reports(10, since=0)
    tap.reports(20, since=15, lost=3)
    tap.reports(30, since=20)
    assert (tap.covered(0, 10), tap.covered(15, 30), tap.covered(0, 30)) == (True, True, False)


@pytest.mark.parametrize("ended", [True, False])
def test_a_restart_is_covered_if_the_old_process_reported_everything(
    bench: Bench, ended: bool
) -> None:
    tap = Lives(bench)
    tap.reports(10, since=0, last=ended)
    tap.reports(20, since=15, tap="b")
    tap.reports(30, since=20, tap="b")
    assert (tap.covered(0, 30), tap.covered(15, 30)) == (ended, True)


def test_a_reconsumed_message_leaves_the_coverage_as_it_was(bench: Bench) -> None:
    """`fedora-messaging reconsume` has the tap in it, too, for a moment."""
    tap = Lives(bench)
    tap.reports(10, since=0)
    tap.reports(14, since=13, tap="b", last=True)
    tap.reports(20, since=10)
    tap.reports(30, since=20)
    assert tap.covered(0, 30)


def test_batches_with_different_delays_leave_no_gap(bench: Bench) -> None:
    tap = Lives(bench)
    tap.reports(10, since=0)
    tap.reports(20.5, since=10.9)
    assert tap.covered(0, 20.5)


def test_after_a_restart_of_busmon_the_tap_continues(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    first = Bench(path)
    tap = Lives(first)
    tap.reports(10, since=0)
    first.ledger.close()
    second = Bench(path)
    tap.bench = second
    tap.reports(600, since=10)
    assert tap.covered(0, 600)
    second.ledger.close()


def test_the_tap_is_up_for_half_a_minute_after_each_report(bench: Bench) -> None:
    def up() -> float | None:
        return bench.value("busmon_observer_up", observer="tap", bus="fedora")

    seen = [up()]
    bench.post(batch())
    seen.append(up())
    bench.monotonic = 29.0
    seen.append(up())
    bench.monotonic = 31.0
    seen.append(up())
    assert seen == [0, 1, 1, 0]


def test_old_reports_are_pruned_in_small_steps(bench: Bench) -> None:
    for n in range(1200):
        bench.post(batch(report(str(n)), seq=n + 1))
    bench.now += 3600
    bench.post(batch(report("new"), seq=1201))
    steps = [bench.ledger.prune(NOW + 7200, 7000) for _ in range(3)]
    assert (steps, [row[0] for row in bench.stored()]) == ([True, True, False], ["new"])


def test_a_flood_of_reports_makes_busmon_forget_no_message(bench: Bench) -> None:
    bench.ledger.size_limit = 2 * 1024**2
    bench.ledger.record(judged(*range(1000), at=NOW))
    for seq in range(1, 7):
        reports = [report(f"{seq}-{n}", task="x" * 200) for n in range(1000)]
        bench.post(batch(*reports, seq=seq))
    while bench.ledger.prune(bench.now, 7000):
        pass
    assert bench.ledger.pruned == {"age": 0, "size": 0}
    assert 0 < len(bench.stored()) == 6000 - bench.ledger.dropped["tap_reports"]


def test_the_metrics_do_not_wait_for_a_batch_that_is_being_written(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    bench = Bench(path)
    answers: list[tuple[int, str]] = []
    posting = threading.Thread(target=lambda: answers.append(bench.post(batch(report()))))
    with foreign_writer(path):
        posting.start()
        time.sleep(0.2)  # it waits for the other program now
        assert bench.value("busmon_tap_reports_total", bus="fedora", state="passed") == 0
        assert posting.is_alive()
    posting.join()
    assert answers == [(200, "taken\n")]
    assert bench.value("busmon_tap_reports_total", bus="fedora", state="passed") == 1
    bench.ledger.close()
