"""Draw the main dashboard from real data: `python -m tests.deploy.picture`.

The data are those of the dashboards' test: a real Prometheus scrapes a real busmon. Each panel
is at its place in Grafana, and shows the results of its own queries.
"""

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from tests.deploy.watched import DEFAULTS, filled, legend, watched
from tests.support.busmon_process import PROJECT
from tests.support.prometheus import Prometheus

FOLDER = PROJECT / "config" / "grafana"
PICTURE = FOLDER / "bus.png"
SECONDS = 150  # of traffic
SKIPPED = 36  # seconds at the start, before windows are closed
ROWS = 91  # of the dashboard's grid, from the top
CELL_INCHES = 0.62, 0.25  # a cell of the grid
COLOURS = {"green": "#56a64b", "yellow": "#e0b400", "red": "#c4162a"}
MAX_LEGEND_LINES = 9
UNITS = {"percentunit": (100, "%"), "s": (1, "s"), "short": (1, "")}


def main() -> None:
    """Run busmon and Prometheus for `SECONDS`, then draw."""
    board = json.loads((FOLDER / "dashboards" / "busmon-bus.json").read_text())
    with (
        tempfile.TemporaryDirectory(prefix="busmon-picture-") as directory,
        watched(Path(directory), SECONDS) as prometheus,
    ):
        time.sleep(SECONDS - 10)
        draw(board, prometheus)


def draw(board: Mapping[str, Any], prometheus: Prometheus) -> None:
    """Draw the upper panels of a dashboard into the picture."""
    pyplot.style.use("dark_background")
    mpl.rcParams.update({"font.size": 8, "axes.titlesize": 9, "axes.titleweight": "bold"})
    mpl.rcParams["axes.facecolor"] = "#181b1f"
    mpl.rcParams["axes.prop_cycle"] = cycler(
        color=[mpl.colormaps["tab20"](number) for number in range(20)]
    )
    figure = pyplot.figure(
        figsize=(24 * CELL_INCHES[0], ROWS * CELL_INCHES[1]), facecolor="#111217"
    )
    for panel in board["panels"]:
        place = panel["gridPos"]
        if place["y"] + place["h"] > ROWS:
            break
        left, top = place["x"] / 24, 1 - place["y"] / ROWS
        if panel["type"] == "row":
            figure.text(0.005, top - 0.8 / ROWS, f"▾ {panel['title']}", weight="bold", size=10)
            continue
        low = top - place["h"] / ROWS
        box = left + 0.045, low + 1.6 / ROWS, place["w"] / 24 - 0.055, (place["h"] - 3.2) / ROWS
        if panel["type"] == "stat":
            box = left + 0.004, low + 0.3 / ROWS, place["w"] / 24 - 0.008, (place["h"] - 1.8) / ROWS
        axes = figure.add_axes(box)
        axes.set_title(panel["title"], loc="left")
        {"stat": _stat, "timeseries": _graph, "table": _table}[panel["type"]](
            axes, panel, prometheus
        )
    _save(figure)


def _results(panel: Mapping[str, Any], prometheus: Prometheus) -> list[tuple[str, Any]]:
    """Return the name and the values of each series of a panel."""
    named = []
    for target in panel["targets"]:
        expr = filled(target["expr"], DEFAULTS)
        found = prometheus.now(expr) if target["instant"] else prometheus.since_start(expr)
        named += [(legend(target["legendFormat"], one), one["values"]) for one in found]
    return named


def _stat(axes: Axes, panel: Mapping[str, Any], prometheus: Prometheus) -> None:
    fields, style = panel["fieldConfig"]["defaults"], panel["options"]["textMode"]
    words = {
        key: word for one in fields.get("mappings", []) for key, word in one["options"].items()
    }
    shown = _results(panel, prometheus)
    axes.set(xlim=(0, len(shown)), ylim=(0, 1), xticks=[], yticks=[])
    for place, (name, values) in enumerate(shown):
        value = values[-1][1]
        steps = fields["thresholds"]["steps"]
        colour = [
            step["color"] for step in steps if step["value"] is None or value >= step["value"]
        ]
        axes.axvspan(place + 0.01, place + 0.99, color=COLOURS.get(colour[-1], colour[-1]))
        word = words.get(f"{value:g}", {}).get("text") or _number(value, fields["unit"])
        large = name if style == "name" else word
        size = 17 if len(large) < 12 else 9
        axes.text(place + 0.5, 0.45, large, size=size, ha="center", va="center", weight="bold")
        if style != "name":
            axes.text(place + 0.5, 0.85, name, ha="center", va="center")
    axes.spines[:].set_visible(False)


def _graph(axes: Axes, panel: Mapping[str, Any], prometheus: Prometheus) -> None:
    fields = panel["fieldConfig"]["defaults"]
    factor, unit = UNITS.get(fields["unit"], (1, fields["unit"].removeprefix("suffix: ")))
    begin = prometheus.started + SKIPPED
    shown = []
    for name, values in _results(panel, prometheus):
        points = {round(at - begin): factor * value for at, value in values if at >= begin}
        if points:
            shown.append((name, points))
    shown.sort(key=lambda one: -max(one[1].values()))
    if fields["custom"].get("stacking", {}).get("mode") == "normal":
        seconds = sorted({at for _, points in shown for at in points})
        layers = [[points.get(at, 0) for at in seconds] for _, points in shown]
        axes.stackplot(seconds, layers, labels=[name for name, _ in shown], alpha=0.8)
    else:
        for name, points in shown:
            axes.plot(list(points), list(points.values()), label=name, linewidth=1.3)
    if "thresholdsStyle" in fields["custom"]:
        axes.axhline(factor * fields["thresholds"]["steps"][-1]["value"], color=COLOURS["red"])
    axes.set_ylim(0, 1.5 * axes.get_ylim()[1])  # room for the legend
    axes.set_ylabel(unit)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} s")
    axes.grid(alpha=0.2)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles[:MAX_LEGEND_LINES],
        labels[:MAX_LEGEND_LINES],
        loc="upper left",
        fontsize=6,
        framealpha=0.6,
        ncols=3,
    )


def _table(axes: Axes, panel: Mapping[str, Any], prometheus: Prometheus) -> None:
    names = panel["transformations"][-1]["options"]["renameByName"]
    units = {
        override["matcher"]["options"]: {
            each["id"]: each["value"] for each in override["properties"]
        }
        for override in panel["fieldConfig"]["overrides"]
    }
    rows: dict[str, dict[str, str]] = {}
    silent: dict[str, float] = {}
    for target in panel["targets"]:
        column = names[f"Value #{target['refId']}"]
        expr = filled(target["expr"], DEFAULTS)
        for one in prometheus.now(expr):
            topic, value = one["metric"]["topic"], one["values"][-1][1]
            words = units[column].get("mappings", [{"options": {}}])[0]["options"]
            text = words.get(f"{value:g}", {}).get("text") or _number(value, units[column]["unit"])
            rows.setdefault(topic, {})[column] = text
            silent.setdefault(topic, value)  # the first column
    order = sorted(rows, key=lambda topic: (-silent.get(topic, 0), -len(rows[topic]), topic))[:7]
    cells = [[topic, *(rows[topic].get(name, "") for name in names.values())] for topic in order]
    axes.axis("off")
    widths = [0.34, *[0.66 / len(names)] * len(names)]
    table = axes.table(
        cells, colLabels=["Topic", *names.values()], colWidths=widths, bbox=Bbox.unit()
    )
    for (line, column), cell in table.get_celld().items():
        cell.set(facecolor="#181b1f", edgecolor="#2c3235")
        cell.get_text().set_color("white")
        if line and column == 1:
            cell.set(facecolor=COLOURS["red" if silent.get(order[line - 1]) else "green"])


def _number(value: float, unit: str) -> str:
    for seconds, word in ((86400, "d"), (3600, "h"), (60, "min")):
        if unit == "s" and value >= 2 * seconds:
            return f"{value / seconds:.1f} {word}"
    return f"{value:.3g} s" if unit == "s" else f"{value:.4g}"


def _save(figure: Figure) -> None:
    """Write the picture with few colours: a third of the size."""
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        figure.savefig(file.name, dpi=80, facecolor=figure.get_facecolor())
        with Image.open(file.name) as image:
            image.convert("RGB").quantize(96).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
