"""What every page has: the same data as HTML and as JSON, links, bounds; without a socket."""

import json
import re
from pathlib import Path
from time import monotonic, thread_time

import pytest
from prometheus_client import CollectorRegistry

from busmon.audit.acceptor import Acceptor
from busmon.config.model import Config
from busmon.settings.models import Web
from busmon.web.app import make_app
from busmon.web.health import ready_view
from busmon.web.pages.page import Page, Shown
from busmon.web.pages.site import MAX_PARAMETERS, MAX_QUERY_CHARACTERS
from busmon.web.pages.table import PAGES
from busmon.web.pages.view import pages_view
from tests.support.diagnosis import Bench
from tests.support.open_gaps import Place, leave_open
from tests.support.pages import pages, text_of
from tests.support.wsgi import ask

HTML, JSON = "text/html; charset=utf-8", "application/json"
BEHIND = Web(
    public_url="https://workers.example/busmon",
    grafana_url="https://grafana.example",
    prometheus_url="https://prometheus.example",
)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if not page.has_rest], ids=lambda page: page.template
)
def test_a_page_is_html_and_its_data_is_json(page: Page) -> None:
    bench = Bench()
    app, path = pages(bench), f"/{page.path}"
    html, data = ask(app, path), ask(app, f"/v1{path}")
    assert (html.headers["Content-Type"], data.headers["Content-Type"]) == (HTML, JSON)
    assert json.loads(data.body)["now"] == bench.now
    for answer in (html, data):
        assert (answer.status, answer.headers["Cache-Control"]) == ("200 OK", "no-store")
    assert ask(app, path, "POST").headers["Allow"] == "GET, HEAD"


def test_a_page_loads_only_files_of_busmon_and_these_may_be_kept() -> None:
    app = pages(Bench())
    page = ask(app, "/")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
    assert "unsafe" not in policy
    loaded = re.findall(r'<(?:script src|link rel="stylesheet" href)="([^"]+)"', page.body.decode())
    assert len(loaded) == 2
    for path in loaded:
        answer = ask(app, path)
        assert (answer.status, "immutable" in answer.headers["Cache-Control"]) == ("200 OK", True)
        assert ask(app, path.replace("/static/", "/static/0")).status == "404 Not Found"
        assert ask(app, path, "POST").status == "405 Method Not Allowed"
    assert not re.search(rb"<style|<script>| style=| on\w+=|http-equiv", page.body)


@pytest.mark.parametrize("path", ["/busmon/", "/"])
def test_behind_a_proxy_every_link_has_the_path_there(path: str) -> None:
    app = pages(Bench(), BEHIND)  # whether or not the proxy removes it
    page = ask(app, path).body.decode()
    links = re.findall(r'(?:href|src)="([^"#][^"]*)"', page)
    own = [link for link in links if link.startswith("/")]
    assert len(own) >= 5
    assert [link for link in own if not link.startswith("/busmon/")] == []
    assert '<a href="https://grafana.example">Grafana</a>' in page
    assert '<a href="https://prometheus.example">Prometheus</a>' in page
    assert ask(app, next(link for link in own if link.endswith(".css"))).status == "200 OK"


@pytest.mark.parametrize(
    ("path", "query", "status", "problem"),
    [
        ("/", "a=1&" * (MAX_PARAMETERS + 1), 400, "more than 20 parameters"),
        ("/", "a" * (MAX_QUERY_CHARACTERS + 1), 400, "more than 4096 characters"),
        ("/v1/", "a" * (MAX_QUERY_CHARACTERS + 1), 400, "more than 4096 characters"),
    ],
)
def test_a_request_that_makes_no_sense_gets_a_page_that_says_so(
    path: str, query: str, status: int, problem: str
) -> None:
    registry = CollectorRegistry()
    answer = ask(pages(Bench(), registry=registry), path, query=query)
    assert answer.status.startswith(str(status))
    assert answer.headers["Content-Type"] == (JSON if path.startswith("/v1") else HTML)
    assert problem in text_of(answer.body)
    counted = {"reason": "malformed"}
    assert registry.get_sample_value("busmon_web_refused_requests_total", counted) == 1


def test_a_page_that_reads_for_too_long_is_ended_and_counted(tmp_path: Path) -> None:
    bench, registry = Bench(path=str(tmp_path / "ledger.sqlite")), CollectorRegistry()
    leave_open(bench.ledger, Place(), 3000)  # more than SQLite reads between two looks at the time
    answer = ask(pages(bench, registry=registry, query_seconds=0.0), "/gaps")
    bench.ledger.close()
    assert answer.status == "503 Service Unavailable"
    assert "the ledger takes too long for this" in text_of(answer.body)
    counted = {"reason": "slow"}
    assert registry.get_sample_value("busmon_web_refused_requests_total", counted) == 1


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [("/", "", 200), ("/gaps/accept", "", 403), ("/gaps/accept", "&".join(["a=b"] * 21), 400)],
)
def test_all_pages_together_leave_most_of_a_cpu_to_the_counting(
    path: str, query: str, status: int
) -> None:
    """That is how it is by default; the other tests do not wait."""
    bench = Bench()
    acceptor = Acceptor(bench.ledger, bench.auditor.refresh)
    shown = Shown(Config.model_construct(buses={}), bench.parts, bench.watch, acceptor, list)
    app = make_app(Web(), CollectorRegistry(), ready_view(list), pages_view(shown))
    ask(app, path, query=query)  # loads the templates
    began, used = monotonic(), thread_time()
    for _ in range(3):
        assert ask(app, path, query=query).status.startswith(str(status))
    assert thread_time() - used < 0.2 * (monotonic() - began)
