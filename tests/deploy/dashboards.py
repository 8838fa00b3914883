"""The dashboards as they are checked in, and their queries as Grafana sends them."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tests.deploy.simulation.recording import INTERVAL, RecordedPrometheus
from tests.support.busmon_process import PROJECT

GRAFANA = PROJECT / "config" / "grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))
BOARDS = {path.stem: json.loads(path.read_text()) for path in FILES}
MAX_POINTS = 1000  # of a graph that is about as wide as a screen

Values = Mapping[str, str]
Series = list[dict[str, Any]]


class Asked(NamedTuple):
    """A query of a dashboard."""

    board: str
    title: str  # of the panel, or the name of the annotation
    expr: str
    instant: bool
    interval: str = ""  # the shortest time between two points, if it is set
    points: int = MAX_POINTS
    legend: str = ""
    ref: str = ""
    format: str = ""


def panels(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the panels, also those of rows that are folded up, without the rows."""
    all_panels = [one for panel in board["panels"] for one in (panel, *panel.get("panels", ()))]
    return [panel for panel in all_panels if panel["type"] != "row"]


def queries(board: str, panel: Mapping[str, Any]) -> Iterator[Asked]:
    """Yield what a panel asks."""
    for target in panel.get("targets", ()):
        yield Asked(
            board,
            panel["title"],
            target["expr"],
            target.get("instant", False),
            target.get("interval", ""),
            panel.get("maxDataPoints", MAX_POINTS),
            target.get("legendFormat", ""),
            target.get("refId", ""),
            target.get("format", ""),
        )


def all_queries() -> Iterator[Asked]:
    """Yield what all panels and annotations ask."""
    for name, board in BOARDS.items():
        for panel in panels(board):
            yield from queries(name, panel)
        for annotation in board["annotations"]["list"]:
            if "expr" in annotation:  # not Grafana's own
                step = annotation.get("step", "")
                yield Asked(name, annotation["name"], annotation["expr"], False, step)


def links(panel: Mapping[str, Any]) -> list[str]:
    """Return where a click on a series or a cell, or on the corner of the panel, leads."""
    fields = panel["fieldConfig"]
    properties = [one for override in fields["overrides"] for one in override["properties"]]
    groups = [fields["defaults"].get("links", ()), panel.get("links", ())]
    groups += [one["value"] for one in properties if one["id"] == "links"]
    return [link["url"] for group in groups for link in group]


def legend(text: str, series: Mapping[str, Any]) -> str:
    """Return the name of a series in the legend."""
    return re.sub(r"{{(\w+)}}", lambda found: series["metric"].get(found[1], ""), text)


def filled(text: str, values: Values) -> str:
    """Replace variables by their values; leave those without a value."""
    return re.sub(
        r"\$(?:{(\w+)(?::\w+)?}|(\w+))",
        lambda found: values.get(found[1] or found[2], found[0]),
        text,
    )


def offered(
    prometheus: RecordedPrometheus, variable: Mapping[str, Any], values: Values
) -> list[str]:
    """Return the values that Grafana offers for a variable, in their order."""
    query, span = variable["query"]["query"], {"start": prometheus.begin, "end": prometheus.end}
    if found := re.fullmatch(r"label_values\((.+), (\w+)\)", query):
        match = {"match[]": filled(found[1], values)}
        texts: list[str] = prometheus.ask(f"label/{found[2]}/values", **match, **span)
    else:
        found = re.fullmatch(r"query_result\((.+)\)", query)
        assert found, query
        # The text that Grafana makes of a series, to which it applies the regular expression.
        texts = [
            f"{one['metric']} {one['values'][0][1]:g} {1000 * one['values'][0][0]:.0f}"
            for one in prometheus.now(filled(found[1], values))
        ]
    if pattern := variable.get("regex", "").strip("/"):
        texts = [one[1] for text in texts if (one := re.search(pattern, text))]
    return sorted(texts)


def defaults(prometheus: RecordedPrometheus, board: str) -> dict[str, str]:
    """Return a dashboard's variables as they are at first, when nobody has chosen anything."""
    values: dict[str, str] = {}
    for variable in BOARDS[board]["templating"]["list"]:
        if variable["type"] == "query":
            values[variable["name"]] = _first(variable, offered(prometheus, variable, values))
    return values


def _first(variable: Mapping[str, Any], offers: list[str]) -> str:
    if variable.get("includeAll"):
        every: str = variable.get("allValue") or f"({'|'.join(map(escaped, offers))})"
        return every
    return offers[0] if offers else ""


def escaped(value: str) -> str:
    """Return a value of a variable as Grafana puts it into a regular expression."""
    return re.escape(value).replace("\\", "\\\\")


def answer(prometheus: RecordedPrometheus, asked: Asked, values: Values) -> Series:
    """Ask as the panel does, for all of the recording, with the shipped intervals."""
    seconds = prometheus.end - prometheus.begin
    # As Grafana's calculateRateInterval, with a data source that is scraped every 15 s.
    least = _seconds(filled(asked.interval, values)) if asked.interval else INTERVAL
    step = max(seconds / asked.points, least)
    rate = round(max(step + least, 4 * least))
    known = {
        "__interval": f"{step:.0f}s",
        "__interval_ms": f"{1000 * step:.0f}",
        "__rate_interval": f"{rate}s",
        "__rate_interval_ms": f"{1000 * rate}",
        "__range": f"{seconds:.0f}s",
        "__range_s": f"{seconds:.0f}",
        "__range_ms": f"{1000 * seconds:.0f}",
    }
    expr = filled(asked.expr, {**values, **known})
    return prometheus.now(expr) if asked.instant else prometheus.over_time(expr, step)


def with_answers(
    prometheus: RecordedPrometheus, board: str, panel: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a panel and the answers to its queries, for Grafana's library to show."""
    values = defaults(prometheus, board)
    answers = [
        {
            "ref": asked.ref,
            "format": asked.format,
            "series": [
                {"name": legend(asked.legend, one), **one}
                for one in answer(prometheus, asked, values)
            ],
        }
        for asked in queries(board, panel)
    ]
    return {"panel": panel, "answers": answers}


def fields(shown: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the fields of all frames that Grafana's library shows."""
    return [field for frame in shown["frames"] for field in frame]


def _seconds(text: str) -> float:
    return float(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]
