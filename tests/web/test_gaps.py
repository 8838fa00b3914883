"""/v1/gaps/accept and /v1/gaps/reopen: who may use them, and what a bad request gets."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from busmon.audit.acceptor import Acceptor
from busmon.ledger.ledger import Ledger
from busmon.settings.models import Operator, Web
from busmon.web.access import Access
from busmon.web.app import make_app
from busmon.web.gaps import MAX_REQUEST_BYTES, gaps_views
from busmon.web.health import ready_view
from busmon.web.refusals import REASONS
from tests.support.open_gaps import FIRST, Place, accepting, leave_open, still_open
from tests.support.wsgi import Answer, ask, basic

ACCEPT, REOPEN = "/v1/gaps/accept", "/v1/gaps/reopen"
GOOD: dict[str, Any] = {"since": FIRST, "until": FIRST + 1, "reason": "purged"}
ALICE = {"HTTP_AUTHORIZATION": basic("alice:of-alice")}
READERS = {"token": SecretStr("reads"), "username": "me", "password": SecretStr("reads-too")}
OPERATORS = {name: Operator(password=SecretStr(f"of-{name}")) for name in ("alice", "bob")}
BOTH = Web.model_validate(READERS | {"operators": {n: {"password": f"of-{n}"} for n in OPERATORS}})


class Bench:
    """A service with an open gap, without a socket."""

    def __init__(self, web: Web = BOTH) -> None:
        self.ledger, self.registry = Ledger(":memory:"), CollectorRegistry()
        leave_open(self.ledger, Place())
        self.acceptor = Acceptor(self.ledger, lambda: None)
        views = gaps_views(self.acceptor, Access(web))
        self.app = make_app(web, self.registry, ready_view(list), own=views.get)

    def post(self, path: str, content: object, **environ: str | None) -> Answer:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        usual: dict[str, Any] = {
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": "application/json",
        }
        return ask(self.app, path, "POST", body=body, **usual | environ)

    def refused(self) -> dict[str, float]:
        """Return the refused requests by reason, without the zeros."""
        name = "busmon_web_refused_requests_total"
        counts = {r: self.registry.get_sample_value(name, {"reason": r}) for r in REASONS}
        return {reason: count for reason, count in counts.items() if count}


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    with accepting(bench.acceptor):
        yield bench


@pytest.mark.parametrize(
    ("web", "authorization", "status", "reason"),
    [
        (BOTH, basic("alice:of-alice"), 200, None),
        (BOTH, basic("bob:of-bob"), 200, None),
        (BOTH, None, 401, "login"),
        (BOTH, basic("alice:of-bob"), 401, "login"),
        (BOTH, basic("alice:"), 401, "login"),
        (BOTH, basic("carol:of-alice"), 401, "login"),
        (BOTH, "Bearer of-alice", 401, "login"),
        (BOTH, "Bearer of-the-tap", 401, "login"),
        (BOTH, "Bearer reads", 403, "read-only"),
        (BOTH, basic("me:reads-too"), 403, "read-only"),
        (Web.model_validate(READERS), "Bearer reads", 403, "no-operator"),
        (Web(), None, 403, "no-operator"),
        (Web(operators=OPERATORS), None, 401, "login"),
        (Web(operators=OPERATORS), basic("bob:of-bob"), 200, None),
    ],
)
def test_only_an_operator_accepts_and_reopens(
    web: Web, authorization: str | None, status: int, reason: str | None
) -> None:
    bench = Bench(web)
    with accepting(bench.acceptor):
        for path, content, left in ((ACCEPT, GOOD, 0), (REOPEN, {"acceptance": 1}, 1)):
            answer = bench.post(path, content, HTTP_AUTHORIZATION=authorization)
            assert answer.status.startswith(str(status))
            assert still_open(bench.ledger).total() == (left if status == 200 else 1)
            assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    assert bench.refused() == ({reason: 2} if reason else {})


def test_the_answer_says_what_was_accepted_and_by_whom(bench: Bench) -> None:
    answer = bench.post(ACCEPT, GOOD | {"topic": "b"}, **ALICE)
    assert json.loads(answer.body) == {"number": None, "messages": 0}
    answer = bench.post(ACCEPT, GOOD, **ALICE)
    done = {"number": 1, "messages": 1, "unconfirmed": 0, "windows": 1, "forgotten": 0}
    assert json.loads(answer.body) == done | {"finished": True}
    answer = bench.post(REOPEN, {"acceptance": 1}, HTTP_AUTHORIZATION=basic("bob:of-bob"))
    assert json.loads(answer.body) == done | {"finished": True}
    with bench.ledger.read() as tables:
        [kept] = tables.acceptances.all()
    assert (kept.who, kept.reason, kept.reverted_by) == ("alice", "purged", "bob")
    answer = bench.post(REOPEN, {"acceptance": 2}, **ALICE)
    assert (answer.status, answer.body) == ("409 Conflict", b"there is no acceptance 2\n")


@pytest.mark.parametrize(
    ("content", "environ", "status", "reason"),
    [
        (GOOD, {"REQUEST_METHOD": "GET"}, 405, "method"),
        (GOOD, {"REQUEST_METHOD": "PUT"}, 405, "method"),
        (GOOD, {"CONTENT_TYPE": "text/plain"}, 415, "type"),
        (GOOD, {"CONTENT_TYPE": "application/x-www-form-urlencoded"}, 415, "type"),
        (GOOD, {"CONTENT_TYPE": ""}, 415, "type"),
        (GOOD, {"CONTENT_LENGTH": None}, 411, "length"),
        (GOOD, {"CONTENT_LENGTH": "700"}, 400, "length"),
        (b"x" * (MAX_REQUEST_BYTES + 1), {}, 413, "size"),
        (GOOD, {"HTTP_ORIGIN": "https://evil.example"}, 403, "cross-site"),
        (GOOD, {"HTTP_ORIGIN": "null"}, 403, "cross-site"),
        (GOOD, {"HTTP_ORIGIN": "http://["}, 403, "cross-site"),
        (GOOD, {"HTTP_SEC_FETCH_SITE": "cross-site"}, 403, "cross-site"),
        (GOOD, {"HTTP_SEC_FETCH_SITE": "same-site"}, 403, "cross-site"),
        (b"", {}, 400, "malformed"),
        (b"{}", {}, 400, "malformed"),
        (b"[" * 10_000, {}, 400, "malformed"),
        (b"\xff", {}, 400, "malformed"),
        (b'{"since": 0, "until": 1, "reason": "\xff"}', {}, 400, "malformed"),
        (GOOD | {"x" * 10_000: 1}, {}, 400, "malformed"),
        (GOOD | {"since": "24h"}, {}, 400, "malformed"),
        (GOOD | {"since": True}, {}, 400, "malformed"),
        (GOOD | {"since": -1}, {}, 400, "malformed"),
        (GOOD | {"until": 1e12}, {}, 400, "malformed"),
        (GOOD | {"until": 10**400}, {}, 400, "malformed"),
        (GOOD | {"until": float("nan")}, {}, 400, "malformed"),
        (GOOD | {"until": FIRST}, {}, 400, "malformed"),
        (GOOD | {"reason": ""}, {}, 400, "malformed"),
        (GOOD | {"reason": "  "}, {}, 400, "malformed"),
        (GOOD | {"reason": "a\nb"}, {}, 400, "malformed"),
        (GOOD | {"reason": "\x1b[2K"}, {}, 400, "malformed"),
        (GOOD | {"reason": "x" * 501}, {}, 400, "malformed"),
        (GOOD | {"reason": None}, {}, 400, "malformed"),
        (GOOD | {"stage": "nowhere"}, {}, 400, "malformed"),
        (GOOD | {"stage": "bus"}, {}, 400, "malformed"),
        (GOOD | {"bus": "\ud800"}, {}, 400, "malformed"),
        (GOOD | {"topic": "x" * 256}, {}, 400, "malformed"),
        (GOOD | {"buses": "fedora"}, {}, 400, "malformed"),
    ],
)
def test_a_bad_request_is_counted_and_accepts_nothing(
    bench: Bench, content: object, environ: dict[str, str | None], status: int, reason: str
) -> None:
    answer = bench.post(ACCEPT, content, **ALICE | environ)
    assert answer.status.startswith(str(status))
    assert bench.refused() == {reason: 1}
    assert still_open(bench.ledger).total() == 1
    assert len(answer.body) < 200


@pytest.mark.parametrize(
    "content",
    [b"1", {"acceptance": 0}, {"acceptance": 10**30}, {"acceptance": "1"}, {"acceptance": 1.5}],
)
def test_a_number_of_an_acceptance_is_checked(bench: Bench, content: object) -> None:
    assert bench.post(REOPEN, content, **ALICE).status.startswith("400")
    assert bench.refused() == {"malformed": 1}


def test_a_page_of_busmons_own_may_accept(bench: Bench) -> None:
    own = {"HTTP_ORIGIN": "http://127.0.0.1", "HTTP_SEC_FETCH_SITE": "same-origin"}
    assert bench.post(ACCEPT, GOOD, **ALICE | own).status == "200 OK"
