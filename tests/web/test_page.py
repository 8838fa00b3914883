"""The page for people, without a browser."""

import pytest

from busmon import __version__
from busmon.diagnosis.verdict import FaultKind, Verdict
from busmon.diagnosis.watcher import Diagnosis
from busmon.ledger.batch import Count, Series
from busmon.ledger.incidents import Incident
from busmon.ledger.ledger import Ledger
from busmon.silence.histories import Topic
from busmon.silence.watcher import RetiredTopic
from busmon.sources.base import ConnectionState
from busmon.web.page import render
from tests.support.ledgers import judged
from tests.support.wsgi import ask, make

NOW = 1_700_000_000.0
VERDICTS = {"fedora": Verdict(FaultKind.NONE, ("connected",))}
WELL = Diagnosis(VERDICTS, [])


def test_the_page_shows_each_bus_with_its_counts() -> None:
    connections = {"fedora": ConnectionState(), "centos": ConnectionState()}
    connections["fedora"].up()
    counts = {
        Series("fedora", "a", "handled", ""): Count(1234, NOW - 5),
        Series("fedora", "b", "handled", ""): Count(1000, NOW - 7300),
        Series("fedora", "b", "ignored", "x"): Count(0, None),
    }
    page = render(connections, counts, ["centos: not connected yet"], WELL, [], NOW)
    assert "<title>busmon: not ready</title>" in page
    for expected in (
        __version__,
        "copr-messaging",
        "connected",
        "2,234",
        "5 s ago",
        "none yet",
        'href="/metrics"',
    ):
        assert expected in page
    connections["centos"].up()
    assert "<title>busmon: All is well</title>" in render(connections, counts, [], WELL, [], NOW)


def test_the_page_shows_whose_fault_it_is_and_why() -> None:
    page = render({"fedora": ConnectionState()}, {}, [], WELL, [], NOW)
    well = '<p class="good">fedora: All is well</p>\n<ul>\n<li>connected</li>\n</ul>'
    assert well in page
    lost = Diagnosis(VERDICTS, [], {"fedora": 6})
    page = render({"fedora": ConnectionState()}, {}, [], lost, [], NOW)
    assert "<title>busmon: All is well now, but 6 messages still lost</title>" in page
    assert '<p class="bad">fedora: All is well now, but 6 messages still lost</p>' in page
    removed = Diagnosis(VERDICTS, [], {"brew": 6})
    page = render({"fedora": ConnectionState()}, {}, [], removed, [], NOW)
    assert '<p class="bad">brew: no longer configured, but 6 messages still lost</p>' in page
    verdict = Verdict(FaultKind.LISTENER, ("it is down", "also"), NOW - 7200)
    verdicts = VERDICTS | {"centos": verdict}
    page = render({"fedora": ConnectionState()}, {}, [], Diagnosis(verdicts, []), [], NOW)
    assert well in page
    fault = "Fault: the listener (at Packit packit-service-fedmsg)"
    assert f"<title>busmon: {fault}</title>" in page
    assert f'<p class="bad">centos: {fault}, since 2023-11-14 20:13:20 UTC, for 2 h</p>' in page
    assert "<p>As of 2023-11-14 22:13:20 UTC. All times are in UTC.</p>" in page
    assert "<li>it is down</li>\n<li>also</li>" in page


AT_LEAST = "2023-11-14 20:13:20 to 21:13:20 UTC at least, for 60 min; then busmon did not run"
INCIDENTS = [
    ((-7200, -3, None), "since 2023-11-14 20:13:20 UTC, for 2 h"),
    ((-7200, -3600, None), AT_LEAST),
    ((-7200, -3600, -3598), "2023-11-14 20:13:20 to 21:13:22 UTC, for 60 min"),
    (
        (-7200, -3600, -60),
        f"{AT_LEAST}, and it was over at 2023-11-14 22:12:20 UTC at the latest",
    ),
]


@pytest.mark.parametrize(("times", "shown"), INCIDENTS)
def test_the_page_shows_the_last_incidents(times: tuple[int, int, int | None], shown: str) -> None:
    began, seen, ended = (None if time is None else NOW + time for time in times)
    assert began
    assert seen
    incident = Incident("fedora", "listener", began, seen, ended, last_evidence=("down", "also"))
    before = Incident("centos", "bus", NOW - 9000, NOW - 8000, NOW - 8000)
    page = render({}, {}, [], Diagnosis(VERDICTS, [before, incident]), [], NOW)
    assert f"<li>{shown}: fedora: listener: down</li>\n<li>2023-11-14 19:43:20 to" in page


def test_the_page_shows_retired_topics_and_whether_they_still_come() -> None:
    since = NOW - 86400
    retired = [
        RetiredTopic(Topic("fedora", "gone"), since, since - 1),
        RetiredTopic(Topic("fedora", "never"), since, None),
        RetiredTopic(Topic("fedora", "<comes>"), since, NOW - 7200),
    ]
    page = render({"fedora": ConnectionState()}, {}, [], WELL, retired, NOW)
    listed = page.partition("Retired: ")[2]
    assert listed.split("<li>")[1:] == [
        "fedora: gone, since 2023-11-13 22:13:20 UTC</li>\n",
        "fedora: never, since 2023-11-13 22:13:20 UTC</li>\n",
        "fedora: &lt;comes&gt;, since 2023-11-13 22:13:20 UTC; but its newest message came 2 h ago"
        "</li>\n" + listed.rpartition("</li>\n")[2],
    ]
    assert "Retired" not in render({"fedora": ConnectionState()}, {}, [], WELL, [], NOW)


@pytest.mark.parametrize(
    ("age", "shown"),
    [(0, "just now"), (119, "119 s ago"), (120, "2 min ago"), (7200, "2 h ago")],
)
def test_the_page_shows_how_old_the_newest_message_is(age: float, shown: str) -> None:
    counts = {Series("fedora", "a", "handled", ""): Count(1, NOW - age)}
    assert f">{shown}<" in render({"fedora": ConnectionState()}, counts, [], WELL, [], NOW)


def test_the_page_escapes_whatever_it_shows() -> None:
    evil = "<script>alert('x')</script>{0}&\""
    incident = Incident(evil, "bus", NOW - 9, NOW, last_evidence=(evil,))
    diagnosis = Diagnosis({evil: Verdict(FaultKind.BUS, (evil,))}, [incident])
    page = render({evil: ConnectionState()}, {}, [evil], diagnosis, [], NOW)
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;{0}&amp;&quot;") == 6


def test_the_page_is_sent_as_html_that_loads_nothing() -> None:
    ledger = Ledger(":memory:")
    ledger.record(judged(1, at=NOW))
    app = make(
        page=lambda: render({"fedora": ConnectionState()}, ledger.counts(), [], WELL, [], NOW)
    )
    answer = ask(app, "/")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert b"http://" not in answer.body
    assert b"https://" not in answer.body
