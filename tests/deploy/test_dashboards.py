"""The dashboards: built by the script, and each of their queries answered by a real Prometheus."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from tests.brokers import Server, free_port, wait_until
from tests.brokers.redis import Redis
from tests.busmon_process import PROJECT
from tests.deploy.exporter_server import EXPORTERS, exporters
from tests.deploy.observed_busmon import SILENT, USUAL, observed_busmon

GRAFANA = PROJECT / "config" / "grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))
BOARDS = {path.stem: json.loads(path.read_text()) for path in FILES}
NAMESPACE = "packit--prod"
# What Grafana itself knows; the scrapes are a second apart.
SPANS = {"__rate_interval": "4s", "__range": "60s"}

Values = Mapping[str, str]


class Prometheus:
    """A Prometheus, and what was there since it was started."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._started = time.time()

    def ask(self, path: str, **parameters: object) -> Any:
        """Return the data of an answer; fails with the error that Prometheus tells."""
        try:
            url = f"{self.url}/api/v1/{path}?{urlencode(parameters)}"
            with urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {json.load(error)['error']}") from error

    def points(self, expr: str, *, instant: bool) -> int:
        """Return how many values that are numbers an expression has."""
        if instant:
            found = self.ask("query", query=expr)["result"]
            return sum(series["value"][1] != "NaN" for series in found)
        span = {"start": self._started, "end": time.time(), "step": 1}
        found = self.ask("query_range", query=expr, **span)["result"]
        return sum(value != "NaN" for series in found for _, value in series["values"])


class Asked(NamedTuple):
    """A query of a dashboard."""

    board: str
    title: str  # of the panel, or the name of the annotation
    expr: str
    instant: bool


def panels(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries() -> Iterator[Asked]:
    for name, board in BOARDS.items():
        for panel in panels(board):
            for target in panel["targets"]:
                yield Asked(name, panel["title"], target["expr"], target.get("instant", False))
        for annotation in board["annotations"]["list"]:
            yield Asked(name, annotation["name"], annotation["expr"], instant=False)


def filled(text: str, values: Values) -> str:
    """Put the values of the variables in; what has none is left."""
    known = {**SPANS, **values}
    return re.sub(r"\$(\w+)", lambda found: known.get(found[1], found[0]), text)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory, redis: Redis) -> Iterator[Prometheus]:
    directory = tmp_path_factory.mktemp("dashboards")
    port = free_port()
    with (
        exporters() as exporter,
        observed_busmon(directory, redis.url, f"http://127.0.0.1:{exporter}/ready") as busmon,
    ):
        configuration = directory / "prometheus.json"  # which is YAML, too
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


def test_the_files_are_what_the_script_makes(tmp_path: Path):
    script = [sys.executable, GRAFANA / "build.py", tmp_path]
    subprocess.run(script, check=True, timeout=60)
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_text() for path in FILES}


@pytest.mark.parametrize("name", BOARDS)
def test_panels_say_what_they_show_and_lie_side_by_side(name: str):
    taken: set[tuple[int, int]] = set()
    for panel in BOARDS[name]["panels"]:
        place = panel["gridPos"]
        left, top = place.get("x", 0), place.get("y", 0)
        cells = {
            (x, y) for x in range(left, left + place["w"]) for y in range(top, top + place["h"])
        }
        assert left + place["w"] <= 24, panel["title"]
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells
    for panel in panels(BOARDS[name]):
        assert panel["description"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
    numbers = [panel["id"] for panel in BOARDS[name]["panels"]]
    assert len(numbers) == len(set(numbers))


def test_no_query_is_empty_with_all_variables_at_all(prometheus: Prometheus):
    everything = dict.fromkeys(("namespace", "bus", "topic", "pod"), ".*")
    for asked in queries():
        expr = filled(asked.expr, everything)
        told = f"data of {asked.board}, {asked.title}: {expr}"
        wait_until(lambda e=expr, a=asked: prometheus.points(e, instant=a.instant), 40, told)


@pytest.mark.parametrize("name", BOARDS)
def test_each_variable_has_values_to_choose_from(prometheus: Prometheus, name: str):
    chosen: dict[str, str] = {}
    for variable in BOARDS[name]["templating"]["list"]:
        if variable["type"] == "datasource":
            assert variable["query"] == "prometheus"
            continue
        assert variable["allValue"] == ".*"  # also what has no such label
        values = offered(prometheus, variable["query"]["query"], chosen)
        assert values, variable["name"]
        chosen[variable["name"]] = re.escape(values[0]).replace("\\", "\\\\")
    for asked in queries():
        if asked.board == name:
            prometheus.points(filled(asked.expr, chosen), instant=asked.instant)


def offered(prometheus: Prometheus, query: str, chosen: Values) -> list[str]:
    """Return the values that Grafana would offer for a variable."""
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
    assert found, query
    match = {"match[]": filled(found[1], chosen)}
    return wait_until(lambda: prometheus.ask(f"label/{found[2]}/values", **match), what=query)


def test_a_topic_that_is_chosen_is_shown_alone(prometheus: Prometheus):
    (asked,) = (asked for asked in queries() if asked.title == "Silence against expectation")

    def shown(topic: str) -> list[str]:
        values = {"namespace": NAMESPACE, "bus": "fedora", "topic": topic}
        found = prometheus.ask("query", query=filled(asked.expr, values))["result"]
        return sorted(series["metric"]["name"] for series in found)

    suffixes = ["copr.build.end", "openscanhub.task.started"]
    wait_until(lambda: len(shown(".*")) == 2, what="both topics")
    assert shown(".*") == suffixes
    assert shown(f"{USUAL}|no.other") == suffixes[:1]
    assert shown(SILENT) == suffixes[1:]


def test_grafana_is_told_where_the_dashboards_and_prometheus_are():
    (provider,) = provisioned("dashboards/busmon.yaml")["providers"]
    assert provider["type"] == "file"
    assert Path(provider["options"]["path"]).is_absolute()
    (source,) = provisioned("datasources/prometheus.yaml")["datasources"]
    assert source["type"] == "prometheus"


def provisioned(name: str) -> dict[str, Any]:
    content = yaml.safe_load((GRAFANA / "provisioning" / name).read_text())
    assert content["apiVersion"] == 1
    return content
