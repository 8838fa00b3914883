"""The lines of config/prometheus/README.md that would count Packit's calls of APIs."""

import re
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from prometheus_client import CollectorRegistry, Counter, push_to_gateway

from tests.deploy.dashboards import filled
from tests.support.brokers import wait_until
from tests.support.busmon_process import PROJECT
from tests.support.http_server import Silent, serving
from tests.support.prometheus import Prometheus
from tests.support.pushgateway import Pushgateway

TEXT = (
    PROJECT.joinpath("config/prometheus/README.md")
    .read_text()
    .partition("### Calls of the APIs")[2]
)


class Api(Silent, BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def monitoring(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Packit's module with these lines; requests is as before afterwards."""
    monkeypatch.setattr(requests.Session, "send", requests.Session.send)
    module = {"Counter": Counter, "requests": requests, "urlsplit": urlsplit}
    exec(block("python"), module)
    return module


def test_calls_of_an_api_are_counted_and_the_panel_shows_them(
    tmp_path: Path, monitoring: dict[str, Any]
) -> None:
    gateway, registry = Pushgateway(tmp_path), CollectorRegistry()
    registry.register(monitoring["API_CALLS"])
    labels = {"namespace": "packit--prod"}
    targets = [{"targets": [f"127.0.0.1:{gateway.port}"], "labels": labels}]
    job = {"job_name": "gateway", "scrape_interval": "1s", "static_configs": targets}
    query = filled(block("promql").strip(), labels | {"__rate_interval": "4s"})
    with gateway, serving(Api) as url:

        def call() -> None:
            requests.get(f"{url}/repos", timeout=30)
            push_to_gateway(gateway.url, job="packit-worker-0", registry=registry)

        call()
        with Prometheus(tmp_path, {"scrape_configs": [job]}) as prometheus:
            wait_until(lambda: prometheus.value("api_calls_total") == 1, what="the first call")

            def rate() -> list[dict[str, Any]]:
                call()  # it has to go on, since the rate is of the last seconds
                return prometheus.now(f"{query} > 0")

            [series] = wait_until(rate, what="the rate")
    assert series["metric"] == {"host": "127.0.0.1"}


def test_what_was_pushed_is_not_pushed_again(monitoring: dict[str, Any]) -> None:
    calls = monitoring["API_CALLS"]
    with serving(Api) as url:
        requests.get(url, timeout=5)
    [metric] = calls.collect()
    assert [sample.value for sample in metric.samples if sample.name == "api_calls_total"] == [1]
    calls.clear()
    [metric] = calls.collect()
    assert metric.samples == []
