"""/incidents: when all was not well, and what was lost; without a browser."""

import json

import pytest

from busmon.ledger.incidents import Incident
from tests.support.diagnosis import Bench
from tests.support.open_gaps import FIRST, Place, leave_open
from tests.support.pages import pages, text_of
from tests.support.wsgi import ask


def bench() -> Bench:
    found = Bench(now=FIRST + 7200)
    leave_open(found.ledger, Place(), 4)
    found.auditor.refresh()
    with found.ledger.write() as tables:
        old = Incident("fedora", "bus", FIRST - 10 * 86400, FIRST - 9 * 86400, FIRST - 9 * 86400)
        new = Incident(
            "fedora", "listener", FIRST, FIRST + 600, FIRST + 600, 0, ("down",), ("down", "<b>*")
        )
        tables.incidents.save([old, new])
    return found


def test_incidents_have_their_evidence_length_and_gaps() -> None:
    app = pages(bench())
    page = ask(app, "/incidents").body
    text = text_of(page)
    assert "1 incident since 2026-02-22 16:05 ." in text
    assert "fedora: listener, 10 min 2026-03-01 14:05:00 to 14:15:00 UTC, for 10 min" in text
    assert "down <b>* messages of the windows from 2026-03-01 14:05:00" in text
    assert "listener: 4 missing" in text
    assert b"<b>*" not in page
    assert '<a href="/gaps?bus=fedora">4 messages still lost</a>' in page.decode()
    [one] = json.loads(ask(app, "/v1/incidents").body)["incidents"]
    assert (one["kind"], one["losses"][0]["messages"]) == ("listener", 4)
    assert "2 incidents since" in text_of(ask(app, "/incidents", query="days=30").body)


def test_the_report_for_a_post_mortem_is_markdown() -> None:
    answer = ask(pages(bench()), "/incidents.md", query="days=30&bus=fedora")
    assert answer.headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert answer.body.startswith(b"# Incidents from 2026-01-30")
    assert b"## 2. fedora: the bus delivered, but the listener" in answer.body


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/incidents", "bus=none", "404 Not Found"),
        ("/incidents", "days=0", "400 Bad Request"),
        ("/incidents.md", "days=%C2%B2", "400 Bad Request"),
        ("/v1/incidents", "days=99999999999999999999", "400 Bad Request"),
        ("/incidents", "days=0000000000019999999", "400 Bad Request"),
        ("/gaps", "state=lost", "400 Bad Request"),
        ("/gaps", "until=nan", "400 Bad Request"),
        ("/gaps", "stage=<", "400 Bad Request"),
        ("/gaps.md", "", "404 Not Found"),
        ("/v1/incidents.md", "", "404 Not Found"),
        ("/gaps/x", "", "404 Not Found"),
    ],
)
def test_what_makes_no_sense_is_refused(path: str, query: str, status: str) -> None:
    assert ask(pages(bench()), path, query=query).status == status
