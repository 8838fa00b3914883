"""The dashboards: the JSON is up to date, and a real Prometheus answers every query."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest
import yaml
from PIL import Image

from busmon.web.api.operations import GET
from tests.deploy.counters_by_topic import increases, of_other_topics
from tests.deploy.dashboards import (
    BOARDS,
    FILES,
    GRAFANA,
    all_queries,
    answer,
    defaults,
    escaped,
    fields,
    links,
    offered,
    panels,
    queries,
    with_answers,
)
from tests.deploy.picture import draw
from tests.deploy.simulation.alerts import critical
from tests.deploy.simulation.recording import RecordedPrometheus as Recorded
from tests.deploy.simulation.run import PAGES, simulated
from tests.deploy.simulation.story import LOST, SILENT, USUAL
from tests.support.grafana_data import show

PAGES_DATA = {one.path: one for one in GET}
# What a link says for a label of the series, or a column of the row, that was clicked.
LABEL = r"\${__(?:field[.]labels|data[.]fields)[.](\w+):percentencode}"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    with simulated(tmp_path_factory.mktemp("dashboards")) as prometheus:
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
    exprs = [asked.expr for asked in all_queries()]
    assert increases(exprs)
    assert of_other_topics(exprs) == []


def test_every_selector_of_a_busmon_metric_has_the_variables_of_busmon() -> None:
    chosen = 'namespace="$namespace",job=~"$job",instance=~"$instance"'
    exprs = [asked.expr for asked in all_queries()]
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


def test_no_query_is_empty_with_all_variables_at_their_default(prometheus: Recorded) -> None:
    values = {name: defaults(prometheus, name) for name in BOARDS}
    empty = [one for one in all_queries() if not answer(prometheus, one, values[one.board])]
    assert empty == []


@pytest.mark.parametrize("name", BOARDS)
def test_each_variable_has_values_to_choose_from(prometheus: Recorded, name: str) -> None:
    chosen: dict[str, str] = {}
    for variable in BOARDS[name]["templating"]["list"]:
        if variable["type"] == "datasource":
            assert variable["query"] == "prometheus"
            continue
        values = offered(prometheus, variable, chosen)
        assert values, variable["name"]
        assert variable["name"] != "pages" or values == [PAGES]
        several = variable["multi"]
        chosen[variable["name"]] = escaped(values[0]) if several else values[0]
    for asked in all_queries():
        if asked.board == name:
            answer(prometheus, asked, chosen)


def test_links_lead_to_pages_with_labels_that_their_series_have(prometheus: Recorded) -> None:
    linked = [
        (name, panel, url)
        for name in BOARDS
        for panel in panels(BOARDS[name])
        for url in links(panel)
    ]
    assert linked
    values = {name: defaults(prometheus, name) for name in BOARDS}
    for name, panel, url in linked:
        path = url.removeprefix("${pages:raw}/")
        assert path != url
        # As the description of the pages' data writes it: `/topics/{bus}/{topic}`.
        page, _, query = re.sub(LABEL, r"{\1}", f"/{path}").partition("?")
        known = {one.name: one.schema.get("enum") for one in PAGES_DATA[page].query}
        for parameter, value in parse_qsl(query):
            assert value in (known[parameter] or ()) or value == f"{{{parameter}}}", url
        labels = set(re.findall(LABEL, path))
        if labels:
            series = answer(prometheus, next(queries(name, panel)), values[name])
            assert series, panel["title"]
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
    assert BOARDS[name]["timezone"] == "utc"


@pytest.mark.parametrize("name", BOARDS)
def test_every_override_finds_its_fields_in_what_grafana_makes(
    prometheus: Recorded, name: str
) -> None:
    asked = [with_answers(prometheus, name, panel) for panel in panels(BOARDS[name])]
    for one, made in zip(asked, show(asked), strict=True):
        title = one["panel"]["title"]
        assert made["unmatched"] == [], title
        texts = [text for field in fields(made) for text in field["texts"]]
        assert not [text for text in texts if "  " in text], title
        if one["panel"]["type"] == "table":
            names = {field["name"] for field in fields(made)}
            last = one["panel"]["transformations"][-1]["options"]
            assert set(last["renameByName"].values()) <= names
            assert not [field for field in names if field.startswith(("Value", "Time"))], title


def test_grafana_shows_a_row_for_each_topic_and_says_which_is_silent(prometheus: Recorded) -> None:
    (panel,) = (one for one in panels(BOARDS["busmon-bus"]) if one["title"] == "Topics")
    (made,) = show([with_answers(prometheus, "busmon-bus", panel)])
    columns = {field["name"]: field["texts"] for field in fields(made)}
    assert len(set(columns["topic"])) == len(columns["topic"])
    silent = dict(zip(columns["topic"], columns["Silent"], strict=True))
    assert [topic for topic, text in silent.items() if text == "SILENT"] == [SILENT]


def shown(prometheus: Recorded, title: str, label: str, **chosen: str) -> dict[str, float]:
    """Return what the first query of a panel shows now: label of a series → value."""
    asked = next(one for one in all_queries() if one.title == title)
    series = answer(prometheus, asked, defaults(prometheus, asked.board) | chosen)
    now = max(one["values"][-1][0] for one in series)
    last = [(one["metric"], *one["values"][-1]) for one in series]
    return {labels[label]: value for labels, at, value in last if at == now}


def test_a_topic_that_is_chosen_is_shown_alone(prometheus: Recorded) -> None:
    def names(topic: str) -> list[str]:
        title = "Silence, as a share of its limit"
        return sorted(shown(prometheus, title, "name", topic=topic))

    assert names(f"{USUAL}|no.other") == ["copr.build.end"]
    assert names(SILENT) == ["openscanhub.task.started"]
    assert {"copr.build.end", "openscanhub.task.started"} < set(names(".*"))


def test_the_top_row_shows_what_is_wrong_and_where(prometheus: Recorded) -> None:
    """CentOS's bus is down. 0 is below the green step, so the verdict's name is red."""
    assert shown(prometheus, "Verdict: whose fault", "bus")["centos"] == 0.0
    assert shown(prometheus, "Connected", "bus") == {"centos": 0.0, "fedora": 1.0}


def test_open_gaps_are_shown_at_each_stage(prometheus: Recorded) -> None:
    gaps = shown(prometheus, "Open gaps: messages", "stage")
    assert all(gaps[stage] for stage in ("listener", "worker", "handlers"))


def test_where_nothing_is_watched_packit_says_what_is_processed(prometheus: Recorded) -> None:
    title, gateway = "Bus volume and processed events", "Packit's push gateway"
    assert shown(prometheus, title, "stage", bus="fedora").keys() == {"handlers"}
    assert shown(prometheus, title, "stage", bus="centos").keys() == {gateway}


def test_packit_counts_what_the_listener_passed_and_webhooks(prometheus: Recorded) -> None:
    """So the panels compare numbers of one scale."""

    def total(selector: str) -> float:
        (series,) = prometheus.now(f"sum({selector})")
        return float(series["values"][0][1])

    passed = total('busmon_tap_reports_total{state="passed"}')
    webhooks = total('github_webhook_calls_total{result="accepted"}')
    processed = total("events_processed_total")
    assert 0.98 * passed < processed - webhooks < passed  # some tasks are lost
    roots = 'task="task.steve_jobs.process_message"'
    assert total(f'flower_events_total{{{roots},type="task-received"}}') == processed


def test_the_picture_of_the_readme_shows_what_was_lost(
    prometheus: Recorded, tmp_path: Path
) -> None:
    draw(prometheus, tmp_path / "bus.png")
    with Image.open(tmp_path / "bus.png") as image:
        first_panel = image.convert("RGB").crop((0, 0, image.width // 2, image.height // 3))
        red, green, blue = np.moveaxis(np.asarray(first_panel, int), 2, 0)
    assert np.mean((red > 1.5 * green) & (red > 1.5 * blue)) > 0.05


def test_the_outage_wakes_somebody_up_once_and_nothing_else_does(prometheus: Recorded) -> None:
    """The shipped alerts, of the hour that the dashboards show. What was lost is no second page."""
    times = LOST[0] - 60, LOST[0] + 600, LOST[1] - 60, prometheus.end - 60
    found = critical(prometheus.recording, prometheus.begin, prometheus.end, times)
    others = {"BusmonBusDisconnected"}  # CentOS's
    outage = others | {"BusmonListenerStalled"}
    assert found == [others, outage, outage, others]


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
