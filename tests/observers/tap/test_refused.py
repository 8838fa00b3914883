"""/v1/reports: what is refused, and what a bad report costs the others."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from busmon.ledger.values import shown_id, stored_id
from busmon.observers.tap import STATES
from busmon.settings.models import Web
from busmon.web.app import make_app
from busmon.web.health import ready_view
from busmon.web.reports import MAX_REQUEST_BYTES
from tests.support.tap_reports import TOKEN, Bench, batch, report
from tests.support.wsgi import ask


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
        (b'{"tap": "\xff"}', {}, 400, "malformed"),
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
        (batch(lost=10**9 + 1), {}, 400, "malformed"),
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


def test_a_report_that_is_not_utf_8_costs_no_other(bench: Bench) -> None:
    content = json.dumps(batch(report(), report("odd id"))).encode()
    assert bench.post(content.replace(b"odd id", b"\xff")) == (200, "taken\n")
    assert len(bench.stored()) == 1


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
    app = make_app(Web(), CollectorRegistry(), ready_view(list))
    assert ask(app, "/v1/reports", "POST").status == "404 Not Found"


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
