"""The dashboards: the JSON is up to date, and a real Prometheus answers every query."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from busmon.web.pages.table import PAGES as SITE
from tests.deploy.counters_by_topic import increases, of_other_topics
from tests.deploy.observed_busmon import PAGES, SILENT, USUAL
from tests.deploy.watched import DEFAULTS, Values, filled, watched
from tests.support.brokers import wait_until
from tests.support.busmon_process import PROJECT
from tests.support.prometheus import Prometheus

GRAFANA = PROJECT / "config" / "grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))
BOARDS = {path.stem: json.loads(path.read_text()) for path in FILES}


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


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with watched(tmp_path_factory.mktemp("dashboards")) as prometheus:
        yield prometheus


def test_the_files_are_what_the_script_makes(tmp_path: Path) -> None:
    script: list[str | Path] = [sys.executable, GRAFANA / "build.py", tmp_path]
    subprocess.run(script, check=True, timeout=60)
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_text() for path in FILES}


@pytest.mark.parametrize("name", BOARDS)
def test_panels_say_what_they_show_and_lie_side_by_side(name: str) -> None:
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
    titles = [(panel["type"], panel["title"]) for panel in panels(BOARDS[name])]
    assert len(titles) == len(set(titles))  # alerts link to a graph by its title


def test_no_query_takes_the_increase_of_the_topic_that_stands_for_others() -> None:
    exprs = [asked.expr for asked in queries()]
    assert increases(exprs)
    assert of_other_topics(exprs) == []


def test_every_selector_of_a_busmon_metric_has_the_variables_of_busmon() -> None:
    chosen = 'namespace="$namespace",job=~"$job",instance=~"$instance"'
    exprs = [asked.expr for asked in queries()]
    for board in BOARDS.values():
        exprs += [
            one["query"]["query"]
            for one in board["templating"]["list"]
            if one["name"] not in {"datasource", "namespace", "job", "instance"}
        ]
    name = re.compile(r"(?<![\w.])(?:busmon_\w+|up|process_(?!message)\w+)\b\S*")
    selectors = [found for expr in exprs for found in name.findall(expr)]
    assert len(selectors) > 100
    for selector in selectors:
        assert f"{{{chosen}" in selector, selector


def test_no_query_is_empty_with_all_variables_at_their_default(prometheus: Prometheus) -> None:
    for asked in queries():
        expr = filled(asked.expr, DEFAULTS)
        what = f"data of {asked.board}, {asked.title}: {expr}"
        wait_until(partial(answered, prometheus, expr, asked), 40, what)


def answered(prometheus: Prometheus, expr: str, asked: Asked) -> bool:
    """Ask as the panel does; fail with an error, return False for an empty panel."""
    return bool(prometheus.now(expr) if asked.instant else prometheus.since_start(expr))


@pytest.mark.parametrize("name", BOARDS)
def test_each_variable_has_values_to_choose_from(prometheus: Prometheus, name: str) -> None:
    chosen: dict[str, str] = {}
    for variable in BOARDS[name]["templating"]["list"]:
        if variable["type"] == "datasource":
            assert variable["query"] == "prometheus"
            continue
        values = offered(prometheus, variable, chosen)
        assert values, variable["name"]
        assert variable["name"] != "pages" or values == [PAGES]
        assert variable["name"] != "half_window" or values == ["1"]
        several = variable["multi"]
        chosen[variable["name"]] = escaped(values[0]) if several else values[0]
        # At first a variable with "All" has a value that also selects series without the label.
        if variable["name"] in DEFAULTS and several:
            assert variable.get("allValue", ".*") == DEFAULTS[variable["name"]]
    assert chosen["namespace"] == DEFAULTS["namespace"]
    for asked in queries():
        if asked.board == name:
            answered(prometheus, filled(asked.expr, chosen), asked)


def escaped(value: str) -> str:
    """Return a value of a variable as Grafana puts it into a regular expression."""
    return re.escape(value).replace("\\", "\\\\")


def offered(prometheus: Prometheus, variable: Mapping[str, Any], chosen: Values) -> list[str]:
    """Return the values that Grafana offers for a variable."""
    query = variable["query"]["query"]
    if found := re.fullmatch(r"query_result\((.+)\)", query):
        (series,) = prometheus.ask("query", query=filled(found[1], chosen))["result"]
        at, value = series["value"]
        # The text that Grafana makes of a series, to which it applies the regular expression.
        shown = re.search(variable["regex"].strip("/"), f"{{}} {value} {1000 * at}")
        return [shown[1]] if shown else []
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
    assert found, query
    match = {"match[]": filled(found[1], chosen)}
    return wait_until(lambda: prometheus.ask(f"label/{found[2]}/values", **match), what=query)


def test_links_lead_to_pages_with_labels_that_their_series_have(prometheus: Prometheus) -> None:
    linked = [
        (panel, url) for board in BOARDS.values() for panel in panels(board) for url in links(panel)
    ]
    assert linked
    for panel, url in linked:
        path = url.removeprefix("${pages:raw}/")
        assert path != url
        assert re.split("[/?]", path)[0] in {page.path for page in SITE}
        labels = set(re.findall(r"\${__(?:field[.]labels|data[.]fields)[.](\w+):", path))
        expr = filled(panel["targets"][0]["expr"], DEFAULTS)
        if labels:  # of all series since the start, since some have long ended
            series = wait_until(partial(prometheus.since_start, expr), what=panel["title"])
            assert all(labels <= one["metric"].keys() for one in series), panel["title"]


def test_each_panel_about_buses_links_to_a_page_of_busmon() -> None:
    for panel in panels(BOARDS["busmon-bus"]):
        assert links(panel), panel["title"]


@pytest.mark.parametrize("name", BOARDS)
def test_the_dashboards_link_to_each_other_and_are_for_reading(name: str) -> None:
    other, pages = BOARDS[name]["links"]
    (uid,) = BOARDS.keys() - {name}
    assert other["url"] == f"/d/{uid}"
    assert other["includeVars"]
    assert other["keepTime"]
    assert pages["url"] == "${pages:raw}/"
    assert BOARDS[name]["editable"] is False
    assert BOARDS[name]["timezone"] == "utc"


def links(panel: Mapping[str, Any]) -> list[str]:
    """Return where a click on a series, or on the corner of the panel, leads."""
    found = [*panel["fieldConfig"]["defaults"].get("links", ()), *panel.get("links", ())]
    return [link["url"] for link in found]


def shown(prometheus: Prometheus, title: str, label: str, **chosen: str) -> dict[str, float]:
    """Return what the first query of a panel shows now: label of a series → value."""
    expr = next(asked.expr for asked in queries() if asked.title == title)
    series = prometheus.now(filled(expr, DEFAULTS | chosen))
    return {one["metric"][label]: one["values"][-1][1] for one in series}


def test_a_topic_that_is_chosen_is_shown_alone(prometheus: Prometheus) -> None:
    def names(topic: str) -> list[str]:
        title = "Silence, as a share of its limit"
        return sorted(shown(prometheus, title, "name", topic=topic))

    suffixes = ["copr.build.end", "openscanhub.task.started"]
    wait_until(lambda: set(suffixes) <= set(names(".*")), what="both topics")
    assert names(f"{USUAL}|no.other") == suffixes[:1]
    assert names(SILENT) == suffixes[1:]


def test_the_top_row_shows_what_is_wrong_and_where(prometheus: Prometheus) -> None:
    """CentOS's bus is down. 0 is below the green step, so the verdict's name is red."""

    def top_row() -> tuple[float | None, dict[str, float]]:
        verdicts = shown(prometheus, "Verdict: whose fault", "bus")
        return verdicts.get("centos"), shown(prometheus, "Connected", "bus")

    expected = 0.0, {"centos": 0.0, "fedora": 1.0}
    wait_until(lambda: top_row() == expected, what=str(expected))


def test_open_gaps_are_shown_at_each_stage(prometheus: Prometheus) -> None:
    def gaps() -> dict[str, float]:
        return shown(prometheus, "Open gaps: messages", "stage")

    wait_until(
        lambda: all(gaps().get(stage) for stage in ("listener", "worker", "handlers")), what="gaps"
    )


def test_where_nothing_is_watched_packit_says_what_is_processed(prometheus: Prometheus) -> None:
    title, gateway = "Bus volume and processed events", "Packit's push gateway"

    def processed(bus: str) -> set[str]:
        return set(shown(prometheus, title, "stage", bus=bus))

    wait_until(lambda: processed("fedora") == {"handlers"}, what="the last stage")
    wait_until(lambda: processed("centos") == {gateway}, what="the push gateway")


def test_grafana_knows_where_the_dashboards_and_prometheus_are() -> None:
    (provider,) = provisioned("dashboards/busmon.yaml")["providers"]
    assert provider["type"] == "file"
    assert Path(provider["options"]["path"]).is_absolute()
    (source,) = provisioned("datasources/prometheus.yaml")["datasources"]
    assert source["type"] == "prometheus"


def provisioned(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((GRAFANA / "provisioning" / name).read_text())
    assert content["apiVersion"] == 1
    return content
