"""The pages of messages: what a search shows, and all that is known of one; without a browser."""

import json
import re
from urllib.parse import quote, urlencode

import pytest

from busmon.ledger.batch import Observation, Series
from busmon.ledger.tap_reports import TapReport
from busmon.ledger.tasks import Origin
from busmon.settings.models import LedgerSettings
from tests.support.datagrepper import settings as archive_settings
from tests.support.diagnosis import Bench
from tests.support.pages import pages, text_of
from tests.support.wsgi import ask

ID = "0f17a9cf-96fa-4deb-9636-d580b3c4d980"
COPR = Series("fedora", "org.fedoraproject.prod.copr.build.end", "handled", "")
PAGURE = Series("fedora", "org.fedoraproject.prod.pagure.pull-request.new", "ignored", "no-reason")
KEYS = "build 12", "package hello"
EVIL = "<script>alert(1)</script>/../?&\"'"


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    request = "project rpms/hello", "package hello", "pull-request 7"
    bench.ledger.record(
        [
            Observation(COPR, ID, bench.now - 60, bench.now - 62, keys=KEYS),
            Observation(PAGURE, EVIL, bench.now - 30, keys=request),
            *(Observation(COPR, f"other-{n}", bench.now) for n in range(3)),
        ]
    )
    return bench


def found(bench: Bench, **asked: str) -> list[str]:
    answer = ask(pages(bench), "/v1/messages", query=urlencode(asked))
    return [one["id"] for one in json.loads(answer.body)["messages"]]


@pytest.mark.parametrize(
    ("asked", "ids"),
    [
        ({"q": "hello"}, [EVIL, ID]),
        ({"q": "hello build:12"}, [ID]),
        ({"q": "hello", "outcome": "ignored", "since": "1h"}, [EVIL]),
        ({"q": "12", "until": "90s"}, []),
        ({"q": ID}, [ID]),
        ({"q": ID, "bus": "fedora", "since": "2026-09-21 14:12:20 UTC"}, [ID]),
        ({"q": ID, "topic": "pull-request.new"}, []),
        ({"q": "task-1"}, [ID]),
        ({"topic": "copr.build.end", "limit": "1", "before": "5"}, ["other-1"]),
        ({"q": "no such words"}, []),
    ],
)
def test_a_message_is_found_by_what_it_is_about(
    bench: Bench, asked: dict[str, str], ids: list[str]
) -> None:
    with bench.ledger.write() as tables:
        tables.tap_reports.add("fedora", [TapReport(ID, COPR.topic, "passed", "task-1")], bench.now)
    assert found(bench, **asked) == ids


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"since": "yesterday"}, "since: should be a time"),
        ({"outcome": "lost"}, "outcome: should be"),
        ({"since": "9" * 400 + "d"}, "since: should be a time"),
        ({"before": "x"}, "before: should be a whole number"),
        ({"limit": "201"}, "limit: should be a whole number from 1 to 200"),
        ({"limit": "0"}, "limit: should be a whole number from 1 to 200"),
        ({"q": "word " * 9}, "q: at most 8 words"),
    ],
)
def test_a_search_that_makes_no_sense_says_why(
    bench: Bench, asked: dict[str, str], problem: str
) -> None:
    answer = ask(pages(bench), "/messages", query=urlencode(asked))
    assert answer.status == "400 Bad Request"
    assert problem in text_of(answer.body)


@pytest.mark.parametrize(
    ("word", "kept", "hint"),
    [
        ("owner:joe", ["package"], "does not list owner"),
        ("joe", [], "does not list package, project, nvr, tag or owner"),
        ("joe", ["tag"], None),
        ("build:12", ["build"], None),
        ("no@key", [], None),
        ("a4d1b2c3-0000-4000-8000-000000000001", [], None),
    ],
)
def test_a_search_for_what_is_not_kept_says_so(
    word: str, kept: list[str], hint: str | None
) -> None:
    app = pages(Bench(), ledger=LedgerSettings.model_validate({"subjects": kept}))
    found = json.loads(ask(app, "/v1/messages", query=urlencode({"q": word})).body)["hints"]
    assert [word in one and one.endswith(hint or "") for one in found] == [True] * bool(hint)
    text = text_of(ask(app, "/messages", query=urlencode({"q": word})).body)
    assert ("subjects in [ledger]" in text) == bool(hint)


def test_a_search_on_an_unknown_bus_is_no_empty_answer(bench: Bench) -> None:
    answer = ask(pages(bench), "/messages", query="bus=fedroa&q=hello")
    assert answer.status == "404 Not Found"
    assert "no such bus: fedroa; known buses: fedora" in text_of(answer.body)


def test_what_is_found_leads_to_the_message_and_to_older_ones(bench: Bench) -> None:
    app = pages(bench)
    html = ask(app, "/messages", query="q=hello&limit=1").body.decode()
    assert "<script>alert" not in html
    links = re.findall(r'href="(/messages/[^"]*)"', html)  # the time, too, for a phone
    assert links == [f"/messages/fedora/{quote(EVIL, safe='')}"] * 2
    older = re.search(r'href="/messages\?([^"]*before=2)"', html)
    assert older
    second = ask(app, "/messages", query=older[1].replace("&amp;", "&")).body.decode()
    assert re.findall(r'href="(/messages/[^"]*)"', second) == [f"/messages/fedora/{ID}"] * 2


def test_the_page_of_a_message_shows_its_way_and_its_links(bench: Bench) -> None:
    with bench.ledger.write() as tables:
        tables.tap_reports.add("fedora", [TapReport(ID, COPR.topic, "passed", "root")], bench.now)
        tables.tasks.receive("root", "process", bench.now)
        tables.tasks.receive("a", "run_handler", bench.now, Origin("root", "root"))
        tables.tasks.change("a", "failed", bench.now)
    html = ask(pages(bench), f"/messages/fedora/{ID}").body
    text = text_of(html)
    assert f"Message {ID}" in text
    assert "About build 12 , package hello" in text
    assert "2.00 s after it was sent" in text or "2 s after it was sent" in text
    assert b'<a href="https://copr.fedorainfracloud.org/coprs/build/12">Copr build</a>' in html
    assert re.search(rb'<li class="depth-1 bad">run_handler: failed', html)
    data = json.loads(ask(pages(bench), f"/v1/messages/fedora/{ID}").body)
    assert (data["message"]["task"], data["tree"][1]["failed"]) == ("root", True)


def test_hostile_ids_and_words_are_shown_as_text(bench: Bench) -> None:
    app = pages(bench)
    for path, query in (
        (f"/messages/fedora/{EVIL}", ""),
        (f"/messages/fedora/{EVIL}\u202e", ""),
        ("/messages/fedora/" + "x" * 3000, ""),
        ("/messages/" + EVIL, ""),
        ("/messages", urlencode(dict.fromkeys(("q", "topic", "reason"), f"{EVIL}\u202e"))),
        ("/messages", urlencode({"bus": f"{EVIL}\u202e"})),
    ):
        answer = ask(app, path.encode().decode("latin-1"), query=query)
        assert answer.status in {"200 OK", "404 Not Found"}
        assert b"<script>alert" not in answer.body
        assert "\u202e" not in answer.body.decode()
    assert ask(app, f"/messages/centos/{ID}").status == "404 Not Found"


@pytest.mark.parametrize(
    ("asked", "link"),
    [
        ({"q": ID}, f"/v2/id?id={ID}&"),
        ({"q": "hello"}, "/v2/search?package=hello&start=1789395200&end=1790000000&"),
        ({"q": "owner:ann", "since": "1h", "bus": "fedora"}, "?user=ann&start=1789996400&"),
        ({"q": "hello", "bus": "centos"}, None),
        ({"q": "12"}, None),
        ({"q": "hello owner:ann"}, None),
        ({}, None),
    ],
)
def test_a_search_is_linked_to_what_the_archive_has(
    bench: Bench, asked: dict[str, str], link: str | None
) -> None:
    archive = archive_settings("https://archive.example/")
    application = pages(bench, archive=archive, buses={"fedora": None, "centos": None})
    query = urlencode(asked)
    found = json.loads(ask(application, "/v1/messages", query=query).body)["archive"]
    assert (link in found) if link else found is None
    text = text_of(ask(application, "/messages", query=query).body)
    assert ("What the archive has" in text) == (link is not None)
