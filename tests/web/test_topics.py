"""The pages of topics: all of them, each one over time, and the last day of each bus."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from busmon.ledger.archive import Span
from busmon.ledger.batch import Observation, Series
from busmon.ledger.filled import Fill, FillState
from busmon.ledger.incidents import Incident
from busmon.ledger.tap_reports import TapReport
from busmon.ledger.windows import Place as Window
from busmon.ledger.windows import Totals, WindowRow
from busmon.message import Judgement, Outcome, Stage
from busmon.silence.rates import WEEK_HOURS
from busmon.web.pages.graphs import MAX_SHADES, merged
from busmon.web.pages.topic import NEWEST, RANGES
from busmon.web.pages.topics import SHOWN
from tests.support.cpu import cpu_time_at_most
from tests.support.diagnosis import Bench
from tests.support.open_gaps import Place, leave_open
from tests.support.pages import pages, text_of
from tests.support.wsgi import ask

HOUR, DAY = 3600, 86400
IGNORED = Judgement(Outcome.IGNORED, "releng")


def asked(bench: Bench, path: str, query: str = "") -> tuple[str, Any]:
    """Return the page as HTML, and its data."""
    app = pages(bench)
    html, data = ask(app, path, query=query), ask(app, f"/v1{path}", query=query)
    assert (html.status, data.status) == ("200 OK", "200 OK")
    return html.body.decode(), json.loads(data.body)


@pytest.fixture
def bench() -> Bench:
    """Topics in several states."""
    bench = Bench()
    bench.past("usual", 60)
    bench.past("silent", 3 * DAY)
    bench.receive("new-1", "new")
    bench.receive("new-2", "new", IGNORED)
    bench.past("gap", 60)
    leave_open(bench.ledger, Place(topic="gap"), 3)
    bench.auditor.refresh()
    bench.silence.learn(bench.now)
    bench.watch.refresh()
    return bench


def test_the_topics_that_need_attention_are_first(bench: Bench) -> None:
    html, data = asked(bench, "/topics")
    found = {one.pop("topic"): one for one in data["topics"]}
    assert list(found) == ["silent", "gap", "new", "usual"]
    assert [one["state"] for one in found.values()] == ["silent", "usual", "learning", "usual"]
    assert found["silent"]["since"] < bench.now
    assert found["new"]["until"] == pytest.approx(bench.now + 28 * DAY, abs=HOUR)
    assert (found["new"]["messages"], found["new"]["handled"]) == (2, 1)
    assert found["usual"]["usual"] == pytest.approx([47, 47], abs=2)
    assert [one["gaps"] for one in found.values()] == [0, 3, 0, 0]
    text = text_of(html.encode())
    assert "4 topics. What needs attention is first." in text
    assert "new no baseline yet , until 2026-10-" in text
    assert " 50 % 0 just now" in text


def test_usual_is_what_busmon_could_have_seen() -> None:
    bench = Bench()
    hour = int(bench.now // HOUR)
    span = Span(hour - 12 * WEEK_HOURS, hour)
    with bench.ledger.write() as tables:  # known from the archive, since busmon is new
        tables.archive_sums.add_before("fedora", "a", span, dict.fromkeys(range(*span), 60))
    bench.receive("first")
    bench.wait(300)
    bench.silence.learn(bench.now)
    (topic,) = asked(bench, "/topics")[1]["topics"]
    assert topic["usual"] == pytest.approx([60 * 300 / HOUR] * 2, rel=0.1), "since it began"
    assert topic["usual"][0] < 60, "of this hour only"
    rate = asked(bench, "/")[1]["buses"][0]["rate"]
    assert rate["usual"] == pytest.approx(topic["usual"][0], rel=0.1)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=US", ["usual"]),
        ("state=silent", ["silent"]),
        ("bus=centos", []),
        ("bus=fedora&state=usual&q=", ["gap", "usual"]),
    ],
)
def test_a_filter_shows_some_topics(bench: Bench, query: str, found: list[str]) -> None:
    assert [one["topic"] for one in asked(bench, "/topics", query)[1]["topics"]] == found


def test_of_thousands_of_topics_the_page_shows_some_hundred_soon() -> None:
    bench = Bench()
    series = (Series("fedora", f"t{number}", "handled", "") for number in range(2000))
    bench.ledger.record([Observation(one, one.topic, bench.now) for one in series])
    with cpu_time_at_most(1.0):
        html, data = asked(bench, "/topics")
    assert (data["found"], len(data["topics"])) == (2000, SHOWN)
    assert "the first 500 are shown" in html


NAMES = [
    "a/b",
    "/",
    "../x",
    "x?range=7d&a#b",
    "%2F",
    "</td><script>alert(1)</script>",
    "é \u202e\n",
]


@pytest.mark.parametrize("name", [*NAMES, ""])
def test_a_topic_of_any_name_has_a_page_and_is_text_there(name: str) -> None:
    bench = Bench()
    bench.receive("id", name)
    html, _ = asked(bench, "/topics")
    (link,) = re.findall(r'<a href="(/topics/fedora/[^"]*)"', html)
    page, data = asked(bench, unquote(link, "latin-1"))  # as WSGI has it
    assert data["topic"]["topic"] == name
    for shown in (html, page):
        assert "<script>alert" not in shown
        assert "\u202e" not in shown


def test_a_topic_is_shown_over_time_with_what_became_of_it(bench: Bench) -> None:
    for number in range(NEWEST):
        bench.receive(f"old-{number}", "usual")
    series = Series("fedora", "usual", "handled", "")
    bench.ledger.record([Observation(series, "wild", bench.now, bench.now - 14 * 7 * DAY)])
    bench.ledger.record([Observation(series, "last", bench.now, bench.now - 0.5)])
    bench.receive("other", "usual", IGNORED)
    with bench.ledger.write() as tables:
        report = TapReport("last", "usual", "passed", "task", bench.now + 2)
        tables.tap_reports.add("fedora", [report], bench.now)
        tables.incidents.save(
            [Incident("fedora", "bus", bench.now - 2 * HOUR, bench.now - HOUR, bench.now - HOUR)]
        )
    html, data = asked(bench, "/topics/fedora/usual", "range=7d")
    bars = data["graph"]["bars"]["values"]
    assert (len(bars), bars[0]) == (7 * 24, 2)
    assert data["graph"]["band"]["low"][5] == pytest.approx(2, abs=0.2)
    assert [shade["name"] for shade in data["graph"]["shades"]] == ["incident"]
    assert {(one["outcome"], one["reason"]) for one in data["outcomes"]} == {
        ("handled", ""),
        ("ignored", "releng"),
    }
    delays = {one["stage"]: one["longest"] for one in data["delays"]}
    assert delays == {"bus": 0.5, "listener": 2}
    assert [one["id"] for one in data["newest"]][:2] == ["other", "last"]
    assert len(data["newest"]) == NEWEST
    assert (data["newest"][1]["report"], data["newest"][1]["task"]) == ("passed", None)
    text = text_of(html.encode())
    assert "ignored releng 1" in text
    assert "usual: messages by hour" in text
    assert html.count("<rect") > 7 * 24


def test_what_the_archive_has_is_drawn_beside_what_busmon_counted(bench: Bench) -> None:
    hour = int(bench.now // HOUR)
    with bench.ledger.write() as tables:
        tables.archive_sums.add_before(
            "fedora", "usual", Span(hour - 9, hour - 5), {hour - 9: 4, hour - 7: 5}
        )
        spans = (bench.now - 3 * HOUR, bench.now - 2 * HOUR), (bench.now - HOUR, bench.now)
        states = FillState.FILLED, FillState.WAITING
        fills = [Fill(*span, state) for span, state in zip(spans, states, strict=True)]
        tables.filled.save("fedora", fills)
    html, data = asked(bench, "/topics/fedora/usual")
    archived = data["graph"]["lines"][-1]
    assert (archived["name"], archived["values"][-10:-5]) == (
        "in the archive",
        [4, 0, 5, None, None],
    )
    (filled,) = data["graph"]["shades"]
    assert (filled["name"], filled["since"]) == ("filled from the archive", spans[0][0])
    assert "filled from the archive" in text_of(html.encode())


@pytest.mark.parametrize("name", RANGES)
def test_a_topic_has_four_ranges_that_end_now(bench: Bench, name: str) -> None:
    html, data = asked(bench, "/topics/fedora/usual", f"range={name}")
    graph = data["graph"]
    end = graph["start"] + graph["step"] * len(graph["bars"]["values"])
    assert end - graph["step"] <= bench.now < end
    assert f'range={name}" aria-current="true"' in html
    # Before the first message, twelve weeks ago, nothing is known.
    assert (graph["bars"]["values"][0] is None) == (name in {"13w", "13m"})


@pytest.mark.parametrize(
    ("path", "query", "status", "problem"),
    [
        ("/topics", "state=x", "400", "state: should be one of silent, low,"),
        ("/topics/fedora/usual", "range=x", "400", "range: should be one of 24h, 7d,"),
        ("/topics/fedora/other", "", "404", "fedora: no topic other"),
        ("/topics/centos/usual", "", "404", "centos: no topic usual"),
        ("/topics/", "", "404", "no topic"),
    ],
)
def test_what_is_not_there_is_said(
    bench: Bench, path: str, query: str, status: str, problem: str
) -> None:
    answer = ask(pages(bench), path, query=query)
    assert answer.status.startswith(status)
    assert problem in text_of(answer.body)


def test_the_last_day_of_a_bus_shows_what_reached_each_stage() -> None:
    bench = Bench()
    this_hour = bench.now // HOUR * HOUR
    for number in range(4):
        bench.receive(number)
    bench.receive("ignored", "a", IGNORED)
    with bench.ledger.write() as tables:
        tables.windows.begin(this_hour - 2 * HOUR)
        tables.windows.add(
            WindowRow(start, start + 300, Window("fedora", "a", Stage.LISTENER), Totals(messages=3))
            for start in (this_hour - 2 * HOUR, this_hour - HOUR, this_hour)
        )
        tables.windows.advance(tables.windows.closed_until() or 0.0, this_hour + 300)
    html, data = asked(bench, "/")
    graph = data["buses"][0]["graph"]
    (passed,) = graph["lines"]
    assert graph["bars"]["values"][-2:] == [0, 4]
    assert passed["name"] == "passed on"
    assert passed["values"][-4:] == [0, 3, 3, None], "this hour is not over"
    assert "fedora: messages by hour" in html


def test_the_rate_of_a_bus_is_compared_with_what_is_usual(bench: Bench) -> None:
    html, data = asked(bench, "/")
    rate = data["buses"][0]["rate"]
    since = bench.now // HOUR * HOUR - HOUR
    assert (rate["since"], rate["messages"]) == (since, 10)  # two topics of 2 an hour, and `new`
    hours = (bench.now - since) / HOUR
    assert rate["usual"] == pytest.approx(6 * hours, rel=0.05), "and the silent one"
    assert f"10, usually about {rate['usual']:.0f}" in text_of(html.encode())


def test_without_the_ledger_the_first_page_shows_what_is_in_memory(tmp_path: Path) -> None:
    bench = Bench(path=str(tmp_path / "ledger.sqlite"))
    (tmp_path / "ledger.sqlite").rename(tmp_path / "elsewhere")
    html, data = asked(bench, "/")
    assert (data["buses"][0]["graph"], data["buses"][0]["rate"]) == (None, None)
    assert "Newest message none yet" in text_of(html.encode())
    assert ask(pages(bench), "/topics").status == "503 Service Unavailable"


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 50)), max_size=500),
    st.floats(0, 500),
    st.floats(501, 1000),
)
def test_shaded_spans_are_few_in_order_and_hide_none(
    spans: list[tuple[float, float]], since: float, until: float
) -> None:
    all_of_it = [(begin, begin + length) for begin, length in spans]
    found = merged(all_of_it, since, until)
    assert len(found) <= MAX_SHADES + 1
    assert all(one[1] < other[0] for one, other in pairwise(found))
    for begin, end in all_of_it:
        if end > since and begin < until:
            inside = max(begin, since), min(end, until)
            assert any(one[0] <= inside[0] and inside[1] <= one[1] for one in found)
