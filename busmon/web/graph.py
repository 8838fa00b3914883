"""A graph over time as SVG, and the same as the rows of a table. Pure functions of plain values.

It has bars, step lines, a band and shaded spans. It scales with the page: the plot is stretched,
the labels are not. Colours come from the style sheet, by class.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, TypedDict
from xml.etree import ElementTree as ET

from busmon.text import printable
from busmon.web.axes import HOUR, exact, minute, scale, short, ticks

HEIGHT, TOP, BOTTOM = 200, 10, 26  # pixels: of the plot, above it, and below it for the labels
SCALE = 1000  # the height of the plot in its own units; a step is 1 wide
GAP = 0.1  # of a step, on each side of a bar
NARROW_TICKS = 5  # labels on a phone, at most

Values = Sequence[float | None]  # one for each step; None: no data


class Line(TypedDict):
    """Values by their name, and the class that gives their colour."""

    name: str
    kind: str
    values: Values


class Band(TypedDict):
    """What is usual at each step; None: not known."""

    name: str
    low: Values
    high: Values


class Shade(TypedDict):
    """A span that is shaded; Unix times."""

    name: str
    kind: str
    since: float
    until: float


class Graph(TypedDict):
    """All that is drawn. Plain values, so that it is also what the page gives as JSON."""

    title: str
    start: int  # Unix time of the first step
    step: int  # seconds
    now: float  # the step of this moment is not over
    bars: Line
    lines: list[Line]
    band: Band | None
    shades: list[Shade]


class Row(NamedTuple):
    """One step as text."""

    time: str
    values: list[str]  # of the bars, of each line, and of the band
    note: str  # whether it is over, and the shaded spans that it is in


def svg(graph: Graph) -> str:
    """Return the graph as an SVG element for a page, with a text for who cannot see it."""
    steps, top = len(graph["bars"]["values"]), scale(_highest(graph))
    whole = ET.Element(
        "svg",
        {"class": "graph", "role": "img", "width": "100%", "height": str(TOP + HEIGHT + BOTTOM)},
    )
    _text(whole, "title", graph["title"])
    _text(whole, "desc", describe(graph))
    for value in top:
        _value_tick(whole, value, top[-1])
    if steps:
        _time_ticks(whole, graph, steps)
        _plot(whole, graph, steps, top[-1])
    return ET.tostring(whole, encoding="unicode")


def describe(graph: Graph) -> str:
    """Return in one sentence what the graph shows."""
    values = [value for value in graph["bars"]["values"] if value is not None]
    start, end = graph["start"], graph["start"] + graph["step"] * len(graph["bars"]["values"])
    if not values:
        return f"{printable(graph['bars']['name'])}: no data."
    unit = "hour" if graph["step"] == HOUR else "day"
    return (
        f"{printable(graph['bars']['name'])} by {unit}, {minute(start)} to {minute(end)} UTC:"
        f" {exact(sum(values))} in all, at most {exact(max(values))} in one {unit}."
    )


def heads(graph: Graph) -> list[str]:
    """Return the names of the values of a row."""
    lines = [graph["bars"], *graph["lines"]]
    names = [printable(line["name"]) for line in lines]
    return [*names, printable(graph["band"]["name"])] if graph["band"] else names


def rows(graph: Graph) -> list[Row]:
    """Return every step as a row of a table, the newest first."""
    steps = range(len(graph["bars"]["values"]))
    return [Row(minute(_time(graph, n)), _values(graph, n), _note(graph, n)) for n in steps][::-1]


def _plot(whole: ET.Element, graph: Graph, steps: int, top: float) -> None:
    plot = ET.SubElement(
        whole,
        "svg",
        {"y": str(TOP), "width": "100%", "height": str(HEIGHT)}
        | {"viewBox": f"0 0 {steps} {SCALE}", "preserveAspectRatio": "none"},
    )
    for shade in graph["shades"]:
        _shade(plot, graph, shade, steps)
    if graph["band"]:
        for path in _band_paths(graph["band"], top):
            ET.SubElement(plot, "path", {"class": "band", "d": path})
    for number, value in enumerate(graph["bars"]["values"]):
        if value is not None:
            _bar(plot, graph, number, SCALE * value / top)
    for line in graph["lines"]:
        path = _step_path(line["values"], top)
        ET.SubElement(plot, "path", {"class": f"line {line['kind']}", "d": path})


def _bar(plot: ET.Element, graph: Graph, number: int, height: float) -> None:
    kind = graph["bars"]["kind"]
    place = {"x": _short(number + GAP), "width": _short(1 - 2 * GAP)}
    size = {"y": _short(SCALE - height), "height": _short(height)}
    over = _time(graph, number + 1) <= graph["now"]
    bar = ET.SubElement(
        plot, "rect", place | size | {"class": f"bar {kind}" if over else f"bar {kind} open"}
    )
    named = zip(heads(graph), _values(graph, number), strict=True)
    texts = [f"{minute(_time(graph, number))} UTC", *(f"{name}: {value}" for name, value in named)]
    _text(bar, "title", "\n".join([*texts, *filter(None, [_note(graph, number)])]))


def _shade(plot: ET.Element, graph: Graph, shade: Shade, steps: int) -> None:
    begin, end = (
        min(max(0.0, (at - graph["start"]) / graph["step"]), steps)
        for at in (shade["since"], shade["until"])
    )
    if end > begin:
        place = {"x": _short(begin), "width": _short(max(end - begin, steps / 1000))}
        box = ET.SubElement(
            plot, "rect", place | {"height": str(SCALE), "class": f"shade {shade['kind']}"}
        )
        _text(box, "title", printable(shade["name"]))


def _band_paths(band: Band, top: float) -> Iterator[str]:
    """Yield a path for each run of steps at which it is known."""
    upper: list[str] = []
    lower: list[str] = []
    for number, (low, high) in enumerate(
        [*zip(band["low"], band["high"], strict=True), (None,) * 2]
    ):
        if low is None or high is None:
            if upper:
                yield f"M{'L'.join([*upper, *reversed(lower)])}Z"
            upper, lower = [], []
            continue
        for points, value in ((upper, high), (lower, low)):
            y = _short(SCALE * (1 - value / top))
            points += [f"{number} {y}", f"{number + 1} {y}"]


def _step_path(values: Values, top: float) -> str:
    parts: list[str] = []
    for number, (before, value) in enumerate(pairwise([None, *values])):
        if value is not None:
            y = _short(SCALE * (1 - value / top))
            parts.append(f"M{number} {y}" if before is None else f"V{y}")
            parts.append(f"H{number + 1}")
    return "".join(parts)


def _value_tick(whole: ET.Element, value: float, top: float) -> None:
    y = _short(TOP + HEIGHT * (1 - value / top))
    ET.SubElement(whole, "line", {"class": "grid", "x1": "0", "x2": "100%", "y1": y, "y2": y})
    place = {"class": "value", "x": "-6", "y": y, "dy": "0.35em", "text-anchor": "end"}
    _text(whole, "text", short(value), place)


def _time_ticks(whole: ET.Element, graph: Graph, steps: int) -> None:
    length = graph["step"] * steps
    found = ticks(graph["start"], graph["start"] + length)
    every = -(-len(found) // NARROW_TICKS)
    for number, (at, label) in enumerate(found):
        x = f"{_short(100 * (at - graph['start']) / length)}%"
        kind = "" if number % every == 0 else " wide"  # which a phone has no room for
        line = {"x1": x, "x2": x, "y1": str(TOP), "y2": str(TOP + HEIGHT + 4)}
        ET.SubElement(whole, "line", line | {"class": f"tick{kind}"})
        place = {"x": x, "y": str(TOP + HEIGHT + 18), "text-anchor": "middle"}
        _text(whole, "text", label, place | {"class": f"time{kind}"})


def _text(
    parent: ET.Element, tag: str, text: str, attributes: dict[str, str] | None = None
) -> None:
    ET.SubElement(parent, tag, attributes or {}).text = "\n".join(map(printable, text.split("\n")))


def _values(graph: Graph, number: int) -> list[str]:
    lines = [graph["bars"], *graph["lines"]]
    found = [_value(line["values"][number]) for line in lines]
    if band := graph["band"]:
        low, high = band["low"][number], band["high"][number]
        known = low is not None and high is not None
        found.append(f"{_value(low)} to {_value(high)}" if known else "not known")
    return found


def _value(value: float | None) -> str:
    return "no data" if value is None else exact(value)


def _note(graph: Graph, number: int) -> str:
    start, end = _time(graph, number), _time(graph, number + 1)
    names = [one["name"] for one in graph["shades"] if one["since"] < end and one["until"] > start]
    notes = [*map(printable, dict.fromkeys(names)), *(["not over"] if end > graph["now"] else [])]
    return "; ".join(notes)


def _highest(graph: Graph) -> float:
    band: Iterable[Values] = [graph["band"]["high"]] if graph["band"] else []
    lines = (line["values"] for line in [graph["bars"], *graph["lines"]])
    return max((value for values in (*lines, *band) for value in values if value), default=1.0)


def _time(graph: Graph, number: int) -> int:
    return graph["start"] + number * graph["step"]


def _short(number: float) -> str:
    return f"{round(number, 2):g}"
