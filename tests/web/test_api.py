"""What is below /v1 is as its OpenAPI document says, whatever is asked."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlencode
from wsgiref.types import WSGIApplication

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from busmon.audit.acceptor import Acceptor
from busmon.ledger.acceptances import Selection
from busmon.ledger.batch import Observation, Series
from busmon.ledger.incidents import Incident
from busmon.ledger.open_messages import State
from busmon.ledger.tap_reports import TapReport
from busmon.ledger.tasks import Origin
from busmon.ledger.values import Interval
from busmon.message import Stage
from busmon.observers.tap import TapObserver
from busmon.settings.models import Web
from busmon.sources.base import Cause
from busmon.web.access import Access
from busmon.web.api.document import document
from busmon.web.api.operations import GET, POST, Operation
from busmon.web.forget import forget_view
from busmon.web.gaps import gaps_views
from busmon.web.pages.table import PAGES
from busmon.web.reports import reports_view
from tests.support.diagnosis import Bench
from tests.support.open_gaps import FIRST, Place, leave_open
from tests.support.pages import pages
from tests.support.wsgi import ask, basic

ID = "0f17a9cf-96fa-4deb-9636-d580b3c4d980"
TOPIC = "org.fedoraproject.prod.copr.build.end"
EVIL = "<a/b>\u202e %2F"
WEB = Web.model_validate(
    {"username": "me", "password": "reads", "operators": {"ann": {"password": "accepts"}}}
)
SENT = {"reader": basic("me:reads"), "operator": basic("ann:accepts"), "tap": "Bearer of-the-tap"}
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def app() -> Iterator[WSGIApplication]:
    """A service whose ledger has something for each page."""
    bench = Bench(now=FIRST + 86400)
    with closing(bench.ledger):
        yield _service(bench)


def _service(bench: Bench) -> WSGIApplication:
    now, ledger = bench.now, bench.ledger
    bench.past("a", last=86400 * 9)  # is silent
    copr = Series("fedora", TOPIC, "handled", "")
    evil = Series("fedora", EVIL, "ignored", "no-reason")
    keys = "build 12", "package hello"
    ledger.record(
        [
            Observation(copr, ID, now - 60, now - 62, keys=keys),
            *(Observation(evil, f"{EVIL}{n}", now - n, keys=keys) for n in range(60)),
        ]
    )
    unconfirmed = Place(window=3, state=State.UNCONFIRMED)
    removed = Place(bus="removed", topic="b", stage=Stage.WORKER)
    for place in (Place(), Place(window=1), removed, unconfirmed):
        leave_open(ledger, place, 3)
    origin = Origin("task-1", "task-1")
    with ledger.write() as tables:
        tables.tap_reports.add("fedora", [TapReport(ID, TOPIC, "passed", "task-1")], now - 50)
        tables.tasks.receive("task-1", "t", now - 40)
        tables.tasks.receive("task-2", "handler", now - 30, origin)
        tables.tasks.change("task-2", "failed", now - 20)
        outage = Incident("fedora", "listener", FIRST, FIRST + 600, None, 20.0, (EVIL,), (EVIL,))
        tables.incidents.save([outage])
        tables.blind_times.save("fedora", FIRST + 60, 20.0, [Interval(FIRST + 30, FIRST + 50)])
    acceptor = Acceptor(ledger, bench.auditor.refresh, wait=0)
    acceptor.accept(Selection(FIRST, FIRST + 1), "ann", EVIL)
    bench.auditor.refresh()
    bench.silence.learn(bench.now)
    bench.refresh()
    bench.connection.down(Cause.NETWORK, "no route")
    bench.refresh(60)
    bench.refresh(60)
    access, tap = Access(WEB), TapObserver(ledger, "fedora", lambda: 0.0)
    own = gaps_views(acceptor, access) | {
        "/v1/forget": forget_view(ledger, access),
        "/v1/reports": reports_view(tap, "of-the-tap", lambda: now),
    }
    return pages(bench, WEB, ("not ready",), acceptor=acceptor, own=own)


def test_the_document_is_served_to_those_who_may_read(app: WSGIApplication) -> None:
    path = "/v1/openapi.json"
    assert ask(app, path).status.startswith("401")
    answer = ask(app, path, HTTP_AUTHORIZATION=SENT["reader"])
    assert json.loads(answer.body) == json.loads(json.dumps(document(None)))
    assert document("https://x.example/busmon/")["servers"] == [{"url": "https://x.example/busmon"}]


def test_the_document_has_each_page() -> None:
    firsts = {(one.path.split("/")[1], "{" in one.path or "commands" in one.path) for one in GET}
    assert firsts - {("status", False)} == {(page.path, page.has_rest) for page in PAGES}


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/", {}),
        ("/status", {}),
        ("/topics", {}),
        ("/topics/fedora/a", {"range": "13w"}),
        (f"/topics/fedora/{TOPIC}", {}),
        (f"/topics/fedora/{EVIL}", {}),
        ("/messages", {"limit": "2"}),
        (f"/messages/fedora/{ID}", {}),
        (f"/messages/fedora/{EVIL}1", {}),
        ("/gaps", {}),
        ("/gaps", {"state": "accepted"}),
        ("/incidents", {}),
        ("/commands/gaps", {"all": "true", "format": "json"}),
        ("/commands/incidents", {"since": "0"}),
        ("/commands/accepted", {}),
        ("/commands/trace", {"id": ID}),
    ],
)
def test_an_answer_has_the_documented_keys_and_no_others(
    app: WSGIApplication, path: str, query: dict[str, str]
) -> None:
    sent = f"/v1{path}".encode().decode("latin-1")  # as WSGI has it
    answer = ask(app, sent, query=urlencode(query), HTTP_AUTHORIZATION=SENT["reader"])
    assert answer.status == "200 OK"
    msgspec.json.decode(answer.body, type=_operation(path).answer)


def _operation(path: str) -> Operation:
    """Return the operation that a path is of."""
    first = path.split("/")[1]
    exact = (one for one in GET if one.path == path)
    return next(exact, None) or next(one for one in GET if one.path.startswith(f"/{first}/{{"))


@pytest.mark.parametrize("operation", [*GET, *POST], ids=lambda one: one.path)
def test_no_request_fails_or_is_answered_otherwise_than_documented(
    app: WSGIApplication, operation: Operation
) -> None:
    method = "GET" if operation.body is None else "POST"
    described = schemathesis.openapi.from_dict(document(None))
    described.app = app
    asked = described[f"/v1{operation.path}"][method]
    headers = {"Authorization": SENT[operation.login]}
    # What is sent has conditions that a schema does not say, as that one time is before another.
    expected = [*CHECKS, checks.positive_data_acceptance] if method == "GET" else CHECKS

    @settings(
        max_examples=10,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=asked.as_strategy())
    def ask_anything(case: Any) -> None:
        case.call_and_validate(headers=headers, checks=expected)

    ask_anything()


def test_what_a_command_prints_has_at_most_a_megabyte() -> None:
    bench = Bench(now=FIRST)
    begun = (FIRST - 9000 + n for n in range(1100))
    with closing(bench.ledger):
        with bench.ledger.write() as tables:
            tables.incidents.save(
                Incident("x", "bus", at, at, at, 0.0, (), (1000 * "a",)) for at in begun
            )
        answer = ask(pages(bench), "/v1/commands/incidents", query="since=0")
    assert answer.status == "400 Bad Request"
    assert b"more than 1,000,000 bytes: ask for less of it" in answer.body
