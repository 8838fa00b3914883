"""Draw the main dashboard as Grafana shows it: `make dashboard-picture`.

The data are those of the dashboards' test, of four hours: a real busmon with its settings as they
are shipped, and a real Prometheus. Names, texts and colours are by Grafana's own library. Each
panel is at its place in Grafana.
"""

import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from tests.deploy.dashboards import (
    BOARDS,
    GRAFANA,
    Asked,
    answer,
    defaults,
    fields,
    with_answers,
)
from tests.deploy.simulation.recording import RecordedPrometheus
from tests.deploy.simulation.run import simulated
from tests.deploy.simulation.story import DAY, HOUR
from tests.support.grafana_data import Shown, show

BOARD = "busmon-bus"
PICTURE = GRAFANA / "bus.png"
BEGIN, END = DAY + 11.5 * HOUR, DAY + 15.5 * HOUR
SHOWN_FROM = DAY + 12 * HOUR  # when windows have been closed
ROWS = 26  # of the dashboard's grid, at most, from the top
CELL_INCHES = 0.62, 0.3  # a cell of the grid
BACKGROUND, PANEL, LINE, TEXT = "#111217", "#181b1f", "#2c3235", "#ccccdc"
MAX_LEGEND_LINES = 8
MAX_TABLE_ROWS = 8


def main() -> None:
    """Let the story take place, then draw what it looks like."""
    with (
        tempfile.TemporaryDirectory(prefix="busmon-picture-") as directory,
        simulated(Path(directory), BEGIN, END, only_outage=True) as prometheus,
    ):
        prometheus.begin = SHOWN_FROM
        draw(prometheus, PICTURE)


def draw(prometheus: RecordedPrometheus, picture: Path) -> None:
    """Draw the upper panels into the picture."""
    upper = [panel for panel in BOARDS[BOARD]["panels"] if _bottom(panel) <= ROWS]
    while upper[-1]["type"] == "row":
        upper.pop()
    rows = max(map(_bottom, upper))
    asked = [with_answers(prometheus, BOARD, panel) for panel in upper if panel["type"] != "row"]
    shown = dict(zip((one["panel"]["id"] for one in asked), show(asked), strict=True))
    marks = list(_annotations(prometheus))
    mpl.rcParams.update({"font.size": 8, "axes.titlesize": 9, "axes.titleweight": "bold"})
    for colour in ("text.color", "axes.labelcolor", "xtick.color", "ytick.color"):
        mpl.rcParams[colour] = TEXT
    size = 24 * CELL_INCHES[0], rows * CELL_INCHES[1]
    figure = Figure(figsize=size, facecolor=BACKGROUND)
    for panel in upper:
        _panel(figure, panel, shown.get(panel["id"]), rows)
        if panel["type"] == "timeseries":
            figure.axes[-1].set_xlim(_time(1000 * prometheus.begin), _time(1000 * prometheus.end))
            _mark(figure.axes[-1], marks)
    _save(figure, picture)


def _bottom(panel: Mapping[str, Any]) -> int:
    place = panel["gridPos"]
    return int(place.get("y", 0) + place["h"])


def _panel(figure: Figure, panel: Mapping[str, Any], shown: Shown | None, rows: int) -> None:
    place = {"x": 0, "y": 0, **panel["gridPos"]}
    left, top, right = place["x"] / 24, 1 - place["y"] / rows, (place["x"] + place["w"]) / 24
    low = 1 - _bottom(panel) / rows
    title = left + 0.006, top - 0.85 / rows
    if shown is None:
        figure.text(*title, f"▾ {panel['title']}", weight="bold", size=10)
        return
    box = Bbox.from_extents(left + 0.002, low + 0.1 / rows, right - 0.002, top - 0.1 / rows)
    frame = figure.add_axes(box.bounds, facecolor=PANEL, xticks=[], yticks=[])
    frame.spines[:].set_color(LINE)
    figure.text(*title, panel["title"], weight="bold", size=8.5)
    inner = Bbox.from_extents(left + 0.006, low + 0.3 / rows, right - 0.006, top - 1.2 / rows)
    kinds = {"stat": _stat, "timeseries": _graph, "table": _table}
    kinds[panel["type"]](figure, inner, panel, shown)


def _stat(figure: Figure, box: Bbox, panel: Mapping[str, Any], shown: Shown) -> None:
    values = [field for field in fields(shown) if field["type"] == "number"]
    if not values:  # what is written then has the colour of the first threshold
        defaults = panel["fieldConfig"]["defaults"]
        colour = defaults["thresholds"]["steps"][0]["color"]
        values = [{"name": "", "texts": [defaults.get("noValue", "")], "colors": [colour]}]
    axes = figure.add_axes(box.bounds, xlim=(0, len(values)), ylim=(0, 1))
    axes.axis("off")
    name_only = panel["options"]["textMode"] == "name"
    flat = box.height * figure.get_figheight() < 0.6
    for place, field in enumerate(values):
        axes.axvspan(place + 0.01, place + 0.99, color=field["colors"][-1])
        name = field["name"] if len(values) > 1 or name_only else ""
        value = "" if name_only else field["texts"][-1]
        large = f"{name} {value}".strip() if flat or name_only else value
        width = box.width * figure.get_figwidth() / len(values)
        size = min(20, 95 * width / max(1, len(large)))
        above = name and large == value
        middle = place + 0.5, 0.4 if above else 0.5
        axes.text(*middle, large, size=size, weight="bold", **CENTRE)
        if above:
            axes.text(place + 0.5, 0.83, name, **CENTRE)


CENTRE = {"ha": "center", "va": "center", "color": "white"}


def _graph(figure: Figure, box: Bbox, panel: Mapping[str, Any], shown: Shown) -> None:
    options = panel["options"]["legend"]
    beside = options["placement"] == "right"
    series = [frame for frame in shown["frames"] if any(one != 0 for one in frame[1]["values"])]
    series = series or shown["frames"]
    drawn = series[:MAX_LEGEND_LINES]
    rows = box.height * figure.get_figheight() / 0.16
    lines = 0 if beside else (len(drawn) + 1) // 2
    low = box.y0 + box.height * (lines + 2) / rows
    right = box.x1 - (0.24 * box.width + 0.02 if beside else 0.014)
    axes = figure.add_axes(
        (box.x0 + 0.03, low, right - box.x0 - 0.03, box.y1 - low), facecolor=PANEL
    )
    below: dict[tuple[str, float], float] = {}
    for times, field in series:
        _line(axes, times["values"], field, below)
    _, high = axes.get_ylim()
    axes.set_ylim(0, 1.05 * high)
    _axes(axes, panel)
    handles, labels = axes.get_legend_handles_labels()
    place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.02)} if beside else {}
    under = {"loc": "upper left", "bbox_to_anchor": (-0.03, -1.5 / (rows - lines - 2))}
    axes.legend(
        handles[:MAX_LEGEND_LINES],
        labels[:MAX_LEGEND_LINES],
        ncols=1 if beside else 2,
        fontsize=6.5,
        frameon=False,
        borderpad=0,
        **(place or under),
    )


def _line(
    axes: Axes, times: list[float], field: dict[str, Any], below: dict[tuple[str, float], float]
) -> None:
    """Draw a series as its field says: a line, or an area on those of its stack."""
    style, colour = field["custom"], field["color"]
    stacking = style.get("stacking", {})
    stack = stacking.get("group", "A") if stacking.get("mode") == "normal" else None
    values = [0.0 if value is None else value for value in field["values"]]
    base = [below.get((stack, at), 0.0) if stack else 0.0 for at in times]
    top = [low + value for low, value in zip(base, values, strict=True)]
    if stack:
        below.update({(stack, at): high for at, high in zip(times, top, strict=True)})
    when = [_time(at) for at in times]
    opacity = style.get("fillOpacity", 0) / 100
    width = style.get("lineWidth", 1)
    if width == 0:
        axes.fill_between(
            when, base, top, color=colour, alpha=opacity, linewidth=0, label=field["name"]
        )
        return
    axes.fill_between(when, base, top, color=colour, alpha=opacity, linewidth=0)
    axes.plot(when, top, color=colour, linewidth=1.2 * width, label=field["name"])


def _axes(axes: Axes, panel: Mapping[str, Any]) -> None:
    unit = panel["fieldConfig"]["defaults"].get("unit", "short")
    shares = {"percentunit": lambda value, _: f"{100 * value:g} %"}
    after = unit.removeprefix("suffix:") if unit.startswith("suffix:") else ""
    axes.yaxis.set_major_formatter(shares.get(unit, lambda value, _: f"{value:g}{after}"))
    axes.yaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
    axes.xaxis.set_major_locator(dates.MinuteLocator(byminute=[0, 30], tz=UTC))
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M", tz=UTC))
    axes.tick_params(length=0, labelsize=7)
    axes.grid(color=LINE)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def _annotations(prometheus: RecordedPrometheus) -> Iterator[tuple[str, float, float]]:
    """Yield the colour, the begin and the end of what the dashboard marks in all graphs."""
    values = defaults(prometheus, BOARD)
    for one in BOARDS[BOARD]["annotations"]["list"]:
        asked = Asked(BOARD, one["name"], one["expr"], False, one["step"])
        for series in answer(prometheus, asked, values):
            times = [at for at, _ in series["values"]]
            starts = [at for at in times if at - 60 not in times]
            ends = [at for at in times if at + 60 not in times]
            yield from ((one["iconColor"], *span) for span in zip(starts, ends, strict=True))


def _mark(axes: Axes, marks: list[tuple[str, float, float]]) -> None:
    for colour, begin, end in marks:
        begun, ended = _time(1000 * begin), _time(1000 * end)
        axes.axvspan(begun, ended, ymax=0.02, color=colour, clip_on=False)
        for at in {begun, ended}:
            axes.axvline(at, color=colour, linewidth=1, linestyle=(0, (3, 3)))


def _time(milliseconds: float) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _table(figure: Figure, box: Bbox, _panel: Mapping[str, Any], shown: Shown) -> None:
    columns = fields(shown)
    axes = figure.add_axes(box.bounds)
    axes.axis("off")
    rows = list(zip(*(column["texts"] for column in columns), strict=True))[:MAX_TABLE_ROWS]
    table = axes.table(rows, colLabels=[one["name"] for one in columns], bbox=Bbox.unit())
    for (line, column), cell in table.get_celld().items():
        cell.set(facecolor=PANEL, edgecolor=LINE)
        style = columns[column]["custom"].get("cellOptions", {}).get("type")
        if line and style == "color-background":
            cell.set(facecolor=columns[column]["colors"][line - 1])


def _save(figure: Figure, picture: Path) -> None:
    """Write the picture with few colours: a third of the size."""
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        figure.savefig(file.name, dpi=90, facecolor=figure.get_facecolor())
        with Image.open(file.name) as image:
            image.convert("RGB").quantize(128).save(picture, optimize=True)


if __name__ == "__main__":
    main()
