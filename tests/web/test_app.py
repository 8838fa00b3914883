"""What the WSGI application answers, without a socket."""

import gzip
from collections.abc import Callable, Iterable
from typing import Never

import pytest
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from pydantic import SecretStr

from busmon.ledger.ledger import Ledger
from busmon.settings.models import Operator, Web
from busmon.sources.base import Cause, ConnectionState
from busmon.threads import Threads
from busmon.web.app import make_app
from busmon.web.health import problems, ready_view
from tests.support.diagnosis import Bench
from tests.support.pages import pages
from tests.support.wsgi import ask, basic, make


@pytest.mark.parametrize(
    "path", ["/live", "/-/healthy", "/ready", "/-/ready", "/metrics", "/v1/status", "/"]
)
def test_head_is_get_without_the_body(path: str) -> None:
    app = make()
    get, head = ask(app, path), ask(app, path, "HEAD")
    assert get.status == head.status == "200 OK"
    assert get.headers.keys() == head.headers.keys()
    assert int(get.headers["Content-Length"]) == len(get.body) > 0
    assert head.body == b""
    assert get.headers["Cache-Control"] == "no-store"
    assert get.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
@pytest.mark.parametrize("path", ["/live", "/ready", "/metrics", "/v1/status"])
def test_only_get_and_head_are_allowed(path: str, method: str) -> None:
    answer = ask(make(), path, method)
    assert (answer.status, answer.headers["Allow"]) == ("405 Method Not Allowed", "GET, HEAD")


@pytest.mark.parametrize(
    "path",
    [
        "/metrics/",
        "/metrics/x",
        "/Metrics",
        "/metrics.txt",
        "/metrics\0",
        "/metrics;x",
        "/metrics?x",  # that is %3F
        "/./metrics",
        "/../metrics",
        "//metrics",
        "//",
        "/live/",
        "/-/",
        "/-/live",
        "/favicon.ico",
        "/index.html",
        "",
    ],
)
def test_anything_else_is_not_found(path: str) -> None:
    shown, closed = pages(Bench()), make(Web(token=SecretStr("secret")))
    assert ask(shown, path).status == "404 Not Found"
    assert ask(closed, path).status == "401 Unauthorized"


def test_live_whatever_is_wrong() -> None:
    app = make(problems=lambda: ["fedora: tls: no"])
    for path in ("/live", "/-/healthy"):
        answer = ask(app, path)
        assert (answer.status, answer.body) == ("200 OK", b"live\n")


def test_ready_says_what_is_wrong_line_by_line() -> None:
    wrong = ["fedora: login: refused", "ledger: disk\nfull \udc80"]
    app = make(problems=lambda: wrong)
    for path in ("/ready", "/-/ready"):
        answer = ask(app, path)
        assert answer.status == "503 Service Unavailable"
        assert answer.body == b"fedora: login: refused\nledger: disk\\nfull \\udc80\n"
    wrong.clear()
    answer = ask(app, "/ready")
    assert (answer.status, answer.body) == ("200 OK", b"ready\n")


def test_each_source_that_does_not_receive_is_a_problem() -> None:
    connections = {"fedora": ConnectionState(), "centos": ConnectionState()}
    ledger, threads = Ledger(":memory:"), Threads()
    assert problems(connections, ledger, threads) == [
        "fedora: not connected yet",
        "centos: not connected yet",
    ]
    connections["fedora"].up()
    connections["centos"].down(Cause.DENIED, "may not subscribe")
    assert problems(connections, ledger, threads) == ["centos: denied: may not subscribe"]
    connections["centos"].up()
    assert problems(connections, ledger, threads) == []


TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "content_type", "parse"),
    [
        ("", TEXT, parse_text),
        ("*/*", TEXT, parse_text),
        ("text/html,application/xhtml+xml,*/*;q=0.8", TEXT, parse_text),
        ("text/plain;version=0.0.4", TEXT, parse_text),
        ("text/plain;version=none", TEXT, parse_text),
        ("application/openmetrics-text", OPENMETRICS, parse_openmetrics),
        (PROMETHEUS, OPENMETRICS, parse_openmetrics),
    ],
)
def test_the_format_is_negotiated(
    accept: str, content_type: str, parse: Callable[[str], Iterable[Metric]]
) -> None:
    answer = ask(make(), "/metrics", HTTP_ACCEPT=accept)
    assert answer.headers["Content-Type"].startswith(content_type)
    assert "busmon_build" in " ".join(family.name for family in parse(answer.body.decode()))


def test_a_client_may_want_names_without_doubt_what_was_a_dot() -> None:
    answer = ask(make(), "/metrics", HTTP_ACCEPT=PROMETHEUS.replace("allow-utf-8", "dots"))
    assert answer.headers["Content-Type"] == f"{OPENMETRICS}; escaping=dots"
    assert b"\nbusmon__build__info{" in answer.body


@pytest.mark.parametrize(
    ("accept_encoding", "packed"),
    [
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("br, gzip ; q=0.01", True),
    ],
)
def test_the_body_is_compressed_if_the_client_accepts_it(
    accept_encoding: str, packed: bool
) -> None:
    answer = ask(make(), "/metrics", HTTP_ACCEPT_ENCODING=accept_encoding)
    assert answer.headers.get("Content-Encoding") == ("gzip" if packed else None)
    assert b"# HELP busmon" in (gzip.decompress(answer.body) if packed else answer.body)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name[]=busmon_build_info", {"busmon_build_info"}),
        (
            "name[]=busmon_ledger_up&name%5B%5D=process_threads",
            {"busmon_ledger_up", "process_threads"},
        ),
        ("name[]=no_such_metric", set()),
    ],
)
def test_metrics_can_be_chosen_by_name(query: str, names: set[str]) -> None:
    answer = ask(make(), "/metrics", query=query)
    assert {family.name for family in parse_text(answer.body.decode())} == names


TOKEN = Web(token=SecretStr("s3cret-ü"))
LOGIN = Web(username="prometheus", password=SecretStr("pass:wörd"))
OPERATORS = {"alice": Operator(password=SecretStr("açcept"))}
OPERATED = Web(token=TOKEN.token, operators=OPERATORS)
BOTH = Web(token=TOKEN.token, username=LOGIN.username, password=LOGIN.password)
WIRE = "s3cret-ü".encode().decode("latin-1")  # as WSGI gives a header


@pytest.mark.parametrize("path", ["/metrics", "/v1/status", "/"])
@pytest.mark.parametrize(
    ("settings", "authorization", "status"),
    [
        (TOKEN, f"Bearer {WIRE}", "200 OK"),
        (TOKEN, f"bearer  {WIRE} ", "200 OK"),
        (TOKEN, "", "401 Unauthorized"),
        (TOKEN, "Bearer", "401 Unauthorized"),
        (TOKEN, "Bearer ", "401 Unauthorized"),
        (TOKEN, f"Bearer {WIRE}x", "401 Unauthorized"),
        (TOKEN, f"Basic {WIRE}", "401 Unauthorized"),
        (TOKEN, WIRE, "401 Unauthorized"),
        (TOKEN, "Bearer \u20ac", "401 Unauthorized"),
        (LOGIN, basic("prometheus:pass:wörd"), "200 OK"),
        (LOGIN, basic("prometheus:pass:wörd").replace("Basic", "BASIC"), "200 OK"),
        (LOGIN, "", "401 Unauthorized"),
        (LOGIN, "Basic !!!", "401 Unauthorized"),
        (LOGIN, basic("prometheus:"), "401 Unauthorized"),
        (LOGIN, basic("prometheus"), "401 Unauthorized"),
        (LOGIN, basic("other:pass:wörd"), "401 Unauthorized"),
        (LOGIN, basic("prometheus:pass:wörd").replace("Basic", "Bearer"), "401 Unauthorized"),
        (BOTH, f"Bearer {WIRE}", "200 OK"),
        (BOTH, basic("prometheus:pass:wörd"), "200 OK"),
        (BOTH, "", "401 Unauthorized"),
        (BOTH, f"Basic {WIRE}", "401 Unauthorized"),
        (BOTH, basic("prometheus:pass:wörd").replace("Basic", "Bearer"), "401 Unauthorized"),
        (OPERATED, f"Bearer {WIRE}", "200 OK"),
        (OPERATED, basic("alice:açcept"), "200 OK"),
        (OPERATED, basic("alice:wrong"), "401 Unauthorized"),
        (OPERATED, "", "401 Unauthorized"),
        (Web(operators=OPERATORS), "", "200 OK"),
        (Web(), "", "200 OK"),
        (Web(), "Bearer anything", "200 OK"),
    ],
)
def test_what_is_private_needs_the_credentials(
    settings: Web, authorization: str, status: str, path: str
) -> None:
    app = make(settings)
    answer = ask(app, path, HTTP_AUTHORIZATION=authorization)
    assert answer.status == status
    if status.startswith("401"):
        challenge = answer.headers["WWW-Authenticate"]
        assert ('Bearer realm="busmon"' in challenge) == (settings is not LOGIN)
        assert ('Basic realm="busmon"' in challenge) == (settings is not TOKEN)
        assert answer.body == b"Unauthorized\n"


@pytest.mark.parametrize(
    ("settings", "wrong"), [(TOKEN, "Bearer wrong"), (LOGIN, basic("wrong:wrong"))]
)
def test_credentials_are_compared_in_constant_time(
    settings: Web, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the time of a refusal would show how much of a guess is right."""
    app = make(settings)
    assert ask(app, "/metrics", HTTP_AUTHORIZATION=wrong).status == "401 Unauthorized"
    monkeypatch.setattr("hmac.compare_digest", lambda *_: True)
    assert ask(app, "/metrics", HTTP_AUTHORIZATION=wrong).status == "200 OK"


@pytest.mark.parametrize("settings", [TOKEN, LOGIN])
@pytest.mark.parametrize("path", ["/live", "/-/healthy", "/ready", "/-/ready"])
def test_the_health_checks_need_no_credentials(settings: Web, path: str) -> None:
    assert ask(make(settings), path).status == "200 OK"


class Broken:
    def collect(self) -> Never:
        raise RuntimeError("a bug")


def test_a_bug_is_logged_and_answered(caplog: pytest.LogCaptureFixture) -> None:
    registry = CollectorRegistry()
    registry.register(Broken())
    answer = ask(make_app(Web(), registry, ready_view(list)), "/metrics")
    assert answer.status == "500 Internal Server Error"
    assert b"bug" not in answer.body
    assert "RuntimeError: a bug" in caplog.text
