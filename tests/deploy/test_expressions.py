"""What holds for every expression of the rules and the dashboards, by a parser of PromQL."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from promql_parser import AggregateExpr, MatrixSelector, SubqueryExpr, VectorSelector

CONFIG = Path(__file__).parents[2] / "config"
# The metrics of a bus, which several busmons may export. Others are of a process, such as memory.
OF_BUSES = set(re.findall(r"`(busmon_\w+)\{bus\b", (CONFIG / "prometheus/METRICS.md").read_text()))
RANGES = {"$__rate_interval": "5m", "$__range": "6h", "$__interval": "1m"}


def rules() -> list[str]:
    files = [yaml.safe_load(path.read_text()) for path in CONFIG.glob("prometheus/rules/*.yml")]
    found = [rule for file in files for group in file["groups"] for rule in group["rules"]]
    texts = str([rule.get("annotations") for rule in found])
    queries = re.findall(r"query \(printf `(.*?)`", texts)
    assert queries
    return [rule["expr"] for rule in found] + [query.replace("%q", '""') for query in queries]


def panels() -> list[str]:
    """Return the expressions of the dashboards, with values for Grafana's variables in ranges."""
    text = json.dumps([json.loads(path.read_text()) for path in CONFIG.glob("grafana/**/*.json")])
    for variable, value in RANGES.items():
        text = text.replace(variable, value)
    found = [json.loads(f'"{expr}"') for expr in re.findall(r'"expr": "((?:[^"\\]|\\.)*)"', text)]
    assert found
    return found


def parts(node: Any) -> Iterator[Any]:
    """Yield what an expression is made of, directly."""
    for name in ("expr", "lhs", "rhs", "vector_selector"):
        if (part := getattr(node, name, None)) is not None:
            yield part
    yield from getattr(node, "args", None) or ()


def nodes(node: Any) -> Iterator[Any]:
    """Yield the expression and all its parts."""
    yield node
    for part in parts(node):
        yield from nodes(part)


def added_up(node: Any) -> Iterator[str]:
    """Yield the metrics of busmon below this part of which several series may be added up."""
    if isinstance(node, AggregateExpr) and str(node.op) in {"max", "min", "group"}:
        return
    if isinstance(node, VectorSelector) and (node.name or "").removesuffix("_bucket") in OF_BUSES:
        yield node.name or ""
    for part in parts(node):
        yield from added_up(part)


@pytest.mark.parametrize("exprs", [rules, panels])
def test_no_counts_of_several_busmons_are_added_up(exprs: Any) -> None:
    """Each sees every message."""
    sums = [
        node
        for expr in exprs()
        for node in nodes(promql_parser.parse(expr))
        if isinstance(node, AggregateExpr) and str(node.op) in {"sum", "avg"}
    ]
    assert sums
    for node in sums:
        assert not list(added_up(node.expr)), node.prettify()


def test_every_selector_of_a_metric_of_busmon_has_its_job() -> None:
    """So a scraped push gateway after `busmon replay --push` fires nothing."""
    selectors = [
        node
        for expr in rules()
        for node in nodes(promql_parser.parse(expr))
        if isinstance(node, VectorSelector) and re.match("busmon_|process_|up$", node.name or "")
    ]
    assert len(selectors) > 100
    for node in selectors:
        found = [of.value for of in node.matchers.matchers if of.name == "job"]
        assert found == ["(.+/)?busmon"], node.prettify()


def test_no_rule_reads_many_hours_every_few_seconds() -> None:
    """A group that does has an interval of its own, of a minute at least."""
    for path in CONFIG.glob("prometheus/rules/*.yml"):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                spans = [
                    node.range.total_seconds()
                    for node in nodes(promql_parser.parse(rule["expr"]))
                    if isinstance(node, MatrixSelector | SubqueryExpr) and node.range
                ]
                if max(spans, default=0) > 2 * 3600:
                    assert group.get("interval", "15s").endswith("m"), rule
