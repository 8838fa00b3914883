"""The rules of Grafana's dashboard-linter, a program in Go: here each is a test of its name.

They are those of June 2026. What does not hold, and why, is in `NOT_HELD`; nothing else may differ.
target-promql-rule is test_dashboards.py, which asks a real Prometheus. The two rules about LogQL
have nothing to look at.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from tests.deploy.dashboards import BOARDS, panels

# Rule → (what it says about a thing, why it may).
NOT_HELD = {
    "template-datasource-rule": (
        r"is labeled Prometheus",
        "says what to choose; only a warning of the linter",
    ),
    "template-job-rule": (
        r"job: allValue is \(\.\+/\)\?busmon",
        "All are all busmons, not all jobs: the alerts watch the same",
    ),
    "template-instance-rule": (
        r"instance: allValue is \.\*",
        "a series without the label is shown, too",
    ),
    "target-job-rule": (
        r"(?!busmon_)\w+ has no job",
        "of other programs, whose jobs have the names that the user gives them",
    ),
    "target-instance-rule": (
        r"(?!busmon_)\w+ has no instance",
        "of other programs: the variable is about busmons",
    ),
    "panel-units-rule": (
        r".*: suffix:.*",
        "messages a minute and cores have no unit in Grafana",
    ),
    "target-counter-agg-rule": (
        r"kube_pod_container_status_restarts_total",
        "the number since the start of the pod says most",
    ),
}
SELECTOR = re.compile(r"(\w+ ?\( ?)?\b([a-zA-Z_:][\w:]*)\{([^}]*)\}(\[[^\]]*\])?")


class Selector(NamedTuple):
    """A selector of PromQL."""

    function: str  # that is called with it alone
    metric: str
    matchers: str
    span: str


def selectors(name: str) -> Iterator[Selector]:
    """Yield the selectors of all queries of a dashboard."""
    for panel in panels(BOARDS[name]):
        for target in panel["targets"]:
            for function, metric, matchers, span in SELECTOR.findall(target["expr"]):
                yield Selector(function.rstrip(" ("), metric, matchers, span)


def variables(name: str, kind: str) -> list[dict[str, Any]]:
    """Return the variables of a dashboard of this type."""
    return [one for one in BOARDS[name]["templating"]["list"] if one["type"] == kind]


def template_datasource_rule(name: str) -> Iterator[str]:
    (source,) = variables(name, "datasource")
    if source["name"] != "datasource":
        yield f"is named {source['name']}"
    if source["label"] != "Data source":
        yield f"is labeled {source['label']}"


def template_rule(name: str, label: str) -> Iterator[str]:
    found = [one for one in variables(name, "query") if one["name"] == label]
    if not found:
        yield f"no variable {label}"
    for one in found:
        wanted = {"label": label.title(), "multi": True, "allValue": ".+"}
        yield from (
            f"{label}: {key} is {one.get(key)}" for key in wanted if one.get(key) != wanted[key]
        )
        if one["datasource"]["uid"] != "${datasource}":
            yield f"{label}: another data source"


def template_job_rule(name: str) -> Iterator[str]:
    yield from template_rule(name, "job")


def template_instance_rule(name: str) -> Iterator[str]:
    yield from template_rule(name, "instance")


def template_label_promql_rule(name: str) -> Iterator[str]:
    functions = "label_names|label_values|metrics|query_result"
    for one in variables(name, "query"):
        if not re.fullmatch(rf"({functions})\(.+\)", one["query"]["query"]):
            yield one["name"]


def template_on_time_change_reload_rule(name: str) -> Iterator[str]:
    yield from (one["name"] for one in variables(name, "query") if one["refresh"] != 2)


def panel_datasource_rule(name: str) -> Iterator[str]:
    for panel in panels(BOARDS[name]):
        if panel["datasource"]["uid"] != "${datasource}":
            yield panel["title"]


def panel_title_description_rule(name: str) -> Iterator[str]:
    for panel in panels(BOARDS[name]):
        if not (panel.get("title") and panel.get("description")):
            yield f"panel {panel['id']}"


def panel_units_rule(name: str) -> Iterator[str]:
    """That Grafana knows them is checked by its own library, in test_dashboards_grafana.py."""
    for panel in panels(BOARDS[name]):
        fields = panel["fieldConfig"]
        properties = [one for override in fields["overrides"] for one in override["properties"]]
        units = [one["value"] for one in properties if one["id"] == "unit"]
        unit = units[-1] if units else fields["defaults"].get("unit", "")
        if not re.fullmatch(r"[a-zA-Z]+", unit):
            yield f"{panel['title']}: {unit}"


def panel_no_targets_rule(name: str) -> Iterator[str]:
    yield from (panel["title"] for panel in panels(BOARDS[name]) if not panel.get("targets"))


def target_rate_interval_rule(name: str) -> Iterator[str]:
    for one in selectors(name):
        if one.function in {"rate", "irate"} and one.span != "[$__rate_interval]":
            yield f"{one.metric}{one.span}"


def target_job_rule(name: str) -> Iterator[str]:
    yield from (
        f"{one.metric} has no job" for one in selectors(name) if 'job=~"$job"' not in one.matchers
    )


def target_instance_rule(name: str) -> Iterator[str]:
    for one in selectors(name):
        if 'instance=~"$instance"' not in one.matchers:
            yield f"{one.metric} has no instance"


def target_counter_agg_rule(name: str) -> Iterator[str]:
    for one in selectors(name):
        ranged = one.span and one.function in {"rate", "irate", "increase"}
        if one.metric.endswith("_total") and not ranged:
            yield one.metric


def uneditable_dashboard(name: str) -> Iterator[str]:
    if BOARDS[name]["editable"] is not False:
        yield "is editable"


RULES = (
    template_datasource_rule,
    template_job_rule,
    template_instance_rule,
    template_label_promql_rule,
    template_on_time_change_reload_rule,
    panel_datasource_rule,
    panel_title_description_rule,
    panel_units_rule,
    panel_no_targets_rule,
    target_rate_interval_rule,
    target_job_rule,
    target_instance_rule,
    target_counter_agg_rule,
    uneditable_dashboard,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__.replace("_", "-"))
def test_a_rule_of_the_linter_holds_but_for_what_is_written_down(
    rule: Callable[[str], Iterator[str]],
) -> None:
    found = {problem for name in BOARDS for problem in rule(name)}
    excepted, _ = NOT_HELD.get(rule.__name__.replace("_", "-"), ("", ""))
    assert {problem for problem in found if not re.fullmatch(excepted, problem)} == set()


def test_what_is_written_down_as_not_held_is_needed() -> None:
    rules = {rule.__name__.replace("_", "-"): rule for rule in RULES}
    assert rules.keys() >= NOT_HELD.keys()
    for name, (excepted, _) in NOT_HELD.items():
        found = [problem for board in BOARDS for problem in rules[name](board)]
        assert any(re.fullmatch(excepted, problem) for problem in found), name
