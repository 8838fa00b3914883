"""Graphs over time, and their axes."""

from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busmon.web import axes
from busmon.web.graph import Graph, Line, Row, describe, heads, rows, svg

HOSTILE = "</title><script>alert(1)</script>\x00\u202e&"
SVG = "{http://www.w3.org/2000/svg}"


def at(*date: int) -> int:
    return int(datetime(*date, tzinfo=UTC).timestamp())  # type: ignore[misc, arg-type] # of any length


def graph(*values: float | None, **fields: Any) -> Graph:
    whole = Graph(
        title="Messages",
        start=at(2026, 11, 26, 12),
        step=3600,
        now=at(2026, 11, 27),
        bars=Line(name="received", kind="bus", values=values),
        lines=[],
        band=None,
        shades=[],
    )
    return whole | fields  # type: ignore[return-value] # the keys of a Graph


def drawn(whole: Graph) -> ET.Element:
    return ET.fromstring(svg(whole))


def found(element: ET.Element, kind: str) -> list[ET.Element]:
    return [one for one in element.iter() if kind in one.get("class", "").split()]


TICKS = [
    # from, to, the first labels
    ("a day", (2026, 11, 26, 13), (2026, 11, 27, 13), ["14:00", "16:00", "18:00", "20:00"]),
    ("midnight", (2026, 11, 26, 22), (2026, 11, 27, 2), ["22:00", "23:00", "27 Nov", "01:00"]),
    ("a week", (2026, 11, 19, 22), (2026, 11, 26, 22), ["20 Nov", "21 Nov"]),
    ("Mondays", (2026, 8, 27), (2026, 11, 26), ["31 Aug", "7 Sep", "14 Sep"]),
    ("months", (2025, 11, 2), (2026, 11, 26), ["Dec", "2026", "Feb", "Mar"]),
    ("summer time is not known", (2026, 3, 29), (2026, 3, 29, 5), ["29 Mar", "01:00", "02:00"]),
    ("five years", (2021, 6, 1), (2026, 6, 1), ["Jul", "2022", "Jul", "2023"]),
    ("a century", (1926, 1, 1), (2026, 1, 2), ["1930", "1940", "1950"]),
    ("nothing", (2026, 1, 1), (2026, 1, 1), []),
]


@pytest.mark.parametrize(
    ("start", "end", "labels"), [row[1:] for row in TICKS], ids=[row[0] for row in TICKS]
)
def test_times_are_labelled_at_round_times(
    start: tuple[int, ...], end: tuple[int, ...], labels: list[str]
) -> None:
    found = axes.ticks(at(*start), at(*end))
    assert [tick.label for tick in found][: len(labels)] == labels
    assert len(found) <= axes.MAX_TICKS


@given(st.integers(0, 2**32), st.integers(1, 2**31))
def test_ticks_are_few_in_order_and_inside(start: int, length: int) -> None:
    times = [tick.at for tick in axes.ticks(start, start + length)]
    assert times == sorted(set(times))
    assert all(start <= time < start + length for time in times)
    assert len(times) <= axes.MAX_TICKS


@given(st.floats(0, 1e300))
def test_the_scale_of_values_is_round_and_holds_the_highest(highest: float) -> None:
    values = axes.scale(highest)
    assert values[0] == 0
    assert highest <= values[-1] <= max(1, 2.6 * highest)
    assert 2 <= len(values) <= axes.VALUE_TICKS + 1


@pytest.mark.parametrize(
    ("value", "short", "exact"),
    [
        (0, "0", "0"),
        (0.25, "0.2", "0.2"),
        (9_999, "9,999", "9,999"),
        (25_000, "25k", "25,000"),
        (1_500_000, "1.5M", "1,500,000"),
        (2e12, "2T", "2,000,000,000,000"),
    ],
)
def test_numbers_are_short_on_an_axis_and_exact_elsewhere(
    value: float, short: str, exact: str
) -> None:
    assert (axes.short(value), axes.exact(value)) == (short, exact)


def test_bars_lines_band_and_shades_stand_where_their_values_are() -> None:
    whole = drawn(
        graph(
            *(100, 50, None, 0),
            lines=[Line(name="passed on", kind="passed", values=[80, None, 20, 40])],
            band={"name": "usual", "low": [None, 10, 10, None], "high": [None, 60, 60, None]},
            shades=[
                {"name": "blind", "kind": "blind", "since": at(2026, 11, 26, 13), "until": 1e11},
                {"name": "long ago", "kind": "blind", "since": 0, "until": 1},
            ],
        )
    )
    bars = [(bar.get("x"), bar.get("y"), bar.get("height")) for bar in found(whole, "bar")]
    assert bars == [("0.1", "0", "1000"), ("1.1", "500", "500"), ("3.1", "1000", "0")]
    (line,) = found(whole, "passed")
    assert line.get("d") == "M0 200H1M2 800H3V600H4"
    (band,) = found(whole, "band")
    assert band.get("d") == "M1 400L2 400L2 400L3 400L3 900L2 900L2 900L1 900Z"
    (shade,) = found(whole, "shade")
    assert (shade.get("x"), shade.get("width")) == ("1", "3")


def test_the_same_can_be_read_as_text_with_the_newest_first() -> None:
    whole = graph(
        *(1200, None),
        start=at(2026, 11, 26, 23),
        now=at(2026, 11, 27, 0, 30),
        lines=[Line(name="passed on", kind="passed", values=[3, 4])],
        band={"name": "usual", "low": [900, None], "high": [1300.4, None]},
        shades=[{"name": "blind", "kind": "blind", "since": 0, "until": at(2026, 11, 26, 23, 5)}],
    )
    assert heads(whole) == ["received", "passed on", "usual"]
    assert rows(whole) == [
        Row("2026-11-27 00:00", ["no data", "4", "not known"], "not over"),
        Row("2026-11-26 23:00", ["1,200", "3", "900 to 1,300"], "blind"),
    ]
    assert describe(whole) == (
        "received by hour, 2026-11-26 23:00 to 2026-11-27 01:00 UTC:"
        " 1,200 in all, at most 1,200 in one hour."
    )


@pytest.mark.parametrize("values", [(), (None, None), (0,), (7,), (10**18, 1)])
def test_a_graph_of_any_values_is_well_formed(values: tuple[float | None, ...]) -> None:
    whole = drawn(graph(*values, title=HOSTILE, bars=Line(name=HOSTILE, kind="bus", values=values)))
    assert len(found(whole, "bar")) == sum(value is not None for value in values)
    assert not list(whole.iter("script"))
    assert "script" in "".join(whole.itertext()), "hostile names are text"
