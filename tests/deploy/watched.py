"""A real Prometheus that scrapes a real busmon, and samples of other exporters."""

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.deploy.exporter_server import EXPORTERS, exporters
from tests.deploy.observed_busmon import observed_busmon
from tests.support.brokers import Server, free_port

NAMESPACE = "packit--prod"
# Variables that Grafana itself fills in. One scrape takes place each second.
SPANS = {"__rate_interval": "4s", "__range": "60s"}

Values = Mapping[str, str]


class Prometheus:
    """A Prometheus: what it has stored since its start."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.started = time.time()

    def ask(self, path: str, **parameters: object) -> Any:
        """Return the data of an answer; fail with the error that Prometheus gives."""
        try:
            url = f"{self.url}/api/v1/{path}?{urlencode(parameters)}"
            with urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {json.load(error)['error']}") from error

    def now(self, expr: str) -> list[dict[str, Any]]:
        """Return the series of an expression with their current values."""
        return _numbers(
            {**series, "values": [series["value"]]}
            for series in self.ask("query", query=expr)["result"]
        )

    def since_start(self, expr: str) -> list[dict[str, Any]]:
        """Return the series of an expression with their values of each second since the start."""
        span = {"start": self.started, "end": time.time(), "step": 1}
        return _numbers(self.ask("query_range", query=expr, **span)["result"])


def _numbers(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the series with their values, except NaN, and only those that have one."""
    series = [
        {**one, "values": [(at, float(value)) for at, value in one["values"] if value != "NaN"]}
        for one in found
    ]
    return [one for one in series if one["values"]]


def legend(text: str, series: Mapping[str, Any]) -> str:
    """Return the name of a series in the legend."""
    return re.sub(r"{{(\w+)}}", lambda found: series["metric"].get(found[1], ""), text)


def filled(text: str, values: Values) -> str:
    """Replace variables by their values; leave those without a value."""
    known = {**SPANS, **values}
    return re.sub(r"\$(\w+)", lambda found: known.get(found[1], found[0]), text)


@contextmanager
def watched(directory: Path, seconds: float = 30) -> Iterator[Prometheus]:
    """Run busmon, the exporters and Prometheus, with so many seconds of traffic."""
    port = free_port()
    with (
        exporters() as exporter,
        observed_busmon(directory, f"http://127.0.0.1:{exporter}/ready", seconds) as busmon,
    ):
        configuration = directory / "prometheus.json"  # JSON is YAML, too
        jobs = [job("busmon", busmon.port, "/metrics")]
        jobs += [job(name, exporter, f"/{name}") for name in EXPORTERS]
        every = {"scrape_interval": "1s", "scrape_timeout": "1s"}
        configuration.write_text(json.dumps({"global": every, "scrape_configs": jobs}))
        server = Server(
            [
                "prometheus",
                f"--config.file={configuration}",
                f"--storage.tsdb.path={directory / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            directory / "prometheus.log",
            ready=lambda server: server.logged("Server is ready to receive web requests"),
        )
        with server:
            yield Prometheus(f"http://127.0.0.1:{port}")


def job(name: str, port: int, path: str) -> dict[str, Any]:
    labels = {"namespace": NAMESPACE}
    return {
        "job_name": name,
        "metrics_path": path,
        "honor_labels": True,
        "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": labels}],
    }
