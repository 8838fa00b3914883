"""The first page: how each bus is, why, and what to do next; without a browser."""

import json
import re
import threading
from pathlib import Path

from busmon.demo.listener import MadeUpObserver
from busmon.sources.base import Cause
from tests.support.diagnosis import Bench
from tests.support.open_gaps import FIRST, Place, leave_open
from tests.support.pages import pages, text_of
from tests.support.wsgi import ask

EVIL = "<script>alert('x')</script>{{0}}&\"\u202e\n"


class Watching(MadeUpObserver):
    """An observer that sees the listener."""

    kind, bus = "ready", "fedora"

    def run(self, stopping: threading.Event) -> None:
        stopping.wait()


def shown(bench: Bench, *problems: str) -> tuple[str, str]:
    """Return the title of the page, and its text."""
    html = ask(pages(bench, problems=problems), "/").body
    found = re.search(r"<title>(.*)</title>", html.decode())
    assert found
    return found[1], text_of(html)


def test_it_does_not_say_that_all_is_well_before_it_knows() -> None:
    bench = Bench(expected={"never": 86400})
    bench.silence.learn(bench.now)
    title, text = shown(bench)
    assert title == "? nothing is judged yet · busmon"
    assert "fedora: ? nothing is judged yet" in text
    bench.past("a", 60)
    bench.silence.learn(bench.now)
    assert shown(bench)[0] == "? no listener is watched · busmon"
    bench.observers.append(Watching())
    title, text = shown(bench)
    assert title == "✓ Overview · busmon"
    assert "fedora: ✓ all is well" in text
    assert shown(bench, "centos: not connected yet")[0] == "✗ not ready · busmon"


def test_a_fault_is_shown_with_its_evidence_and_what_to_do() -> None:
    bench = Bench()
    bench.connection.down(Cause.NETWORK, "refused")
    bench.refresh(7200)
    bench.refresh(7200)
    title, text = shown(bench)
    assert title == "✗ connection · busmon"
    assert "Fault: the connection to the bus, since 2026-" in text
    assert ", for 2 h the connection is down: network: refused Next: what to do" in text
    assert "not connected: network: refused" in text
    page = ask(pages(bench), "/").body.decode()
    assert 'RUNBOOK.md#busmonbusdisconnected">what to do' in page


def test_open_gaps_and_silent_topics_are_shown() -> None:
    bench = Bench()
    bench.past("quiet", 2 * 86400)
    bench.past("loud", 60)
    bench.silence.learn(bench.now)
    leave_open(bench.ledger, Place(), 3)
    leave_open(bench.ledger, Place(bus="brew"), 6)
    bench.auditor.refresh()
    bench.refresh()
    title, text = shown(bench)
    assert title == "✗ publisher · busmon"
    assert "3 messages missing at listener , the oldest from 2026-03-01 14:05" in text
    assert "Silent quiet , for too long since " in text
    assert "brew: no longer configured, but 6 messages still lost" in text
    [bus] = json.loads(ask(pages(bench), "/v1/").body)["buses"]
    assert [topic["topic"] for topic in bus["topics"]] == ["quiet"]
    assert bus["open_gaps"] == [{"stage": "listener", "messages": 3, "oldest": FIRST}]


def test_lost_messages_are_no_fault_now_but_not_well_either() -> None:
    bench = Bench()
    leave_open(bench.ledger, Place())
    bench.auditor.refresh()
    assert shown(bench)[0] == "! 1 message still lost · busmon"


def test_without_its_ledger_the_page_says_why_there_is_no_graph(tmp_path: Path) -> None:
    bench = Bench(path=str(tmp_path / "ledger.sqlite"))
    (tmp_path / "ledger.sqlite").unlink()
    answer = ask(pages(bench), "/")
    bench.ledger.close()
    assert answer.status == "200 OK"
    assert "Without graphs and rates: " in (text := text_of(answer.body))
    assert "no such ledger" in text
    assert "<svg" not in answer.body.decode()


def test_the_last_incidents_are_shown_the_newest_first() -> None:
    bench = Bench()
    for detail in ("refused", "no route"):
        bench.connection.down(Cause.NETWORK, detail)
        bench.refresh(60)
        bench.refresh(60)
        bench.connection.up()
        bench.wait(120)
    _, text = shown(bench)
    lines = re.findall(r"for (\S+ \S+): fedora: connection: .*?network: (refused|no route)", text)
    assert lines == [("70 s", "no route"), ("70 s", "refused")]


def test_hostile_names_are_shown_as_text() -> None:
    bench = Bench()
    bench.past(EVIL, 2 * 86400)
    bench.past("loud", 60)
    bench.silence.learn(bench.now)
    bench.refresh()
    page = ask(pages(bench, problems=(EVIL,)), "/").body.decode()
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert page.count("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;{{0}}&amp;") >= 2
