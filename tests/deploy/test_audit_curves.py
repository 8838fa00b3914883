"""The graphs of the audit, whose counters grow once a window: smooth, and their sums are right.

A real Prometheus has eight hours as of the shipped settings: a scrape each 15 s, windows of five
minutes, of which each is closed up to a second late.
"""

import subprocess
import time
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

import pytest

from tests.deploy.dashboards import BOARDS, filled, panels
from tests.support.prometheus import Prometheus

CHOSEN = {"namespace": "packit--prod", "job": ".*", "bus": ".*", "topic": ".*"}
HOURS = 8
SCRAPE_SECONDS = 15
WINDOW = 300
WINDOWS = HOURS * 3600 // WINDOW
HANDLED = 900  # messages of each window
MISSING = 90  # of those, at the listener, in every second window
# Bus, stage, and how many messages are missing there. Nothing behind CentOS's bus is watched.
STAGES = (("fedora", "bus", 0), ("centos", "bus", 0), ("fedora", "listener", MISSING))
# Busmons that close a window so many seconds after a multiple of five minutes. One does so while
# Prometheus scrapes it.
CLOSED_AFTER = (0, 6.5, 120, 149, 270)
# One that Prometheus did not scrape in the fourth hour's last half. What it had in that time is
# closed at once at the end.
AWAY, AWAY_BEGAN, AWAY_ENDED = 120.5, 3.5 * 3600, 4 * 3600
BUSMONS = (*CLOSED_AFTER, AWAY)


class Zoom(NamedTuple):
    """What Grafana asks for a time range: a point each `step`, each with so long a range."""

    step: int
    rate_interval: int


# At the step of half a window; two days in Grafana 10.1, which takes four steps; and in later ones.
ZOOMS = {"6h": Zoom(150, 600), "2d-10.1": Zoom(600, 2400), "2d": Zoom(600, 750)}


@pytest.fixture(scope="module")
def end() -> int:
    return int(time.time() // 7200) * 7200


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory, end: int) -> Iterator[Prometheus]:
    directory = tmp_path_factory.mktemp("curves")
    text = directory / "samples.txt"
    text.write_text("".join(samples(end - HOURS * 3600)))
    convert = ["promtool", "tsdb", "create-blocks-from", "openmetrics"]
    subprocess.run(
        [*convert, text, directory / "prometheus"], check=True, capture_output=True, timeout=60
    )
    with Prometheus(directory, {}) as prometheus:
        yield prometheus


def samples(start: int) -> Iterator[str]:
    """Yield the lines of what Prometheus scraped, in OpenMetrics."""
    yield "# TYPE busmon_audit_last_closed_timestamp_seconds gauge\n"
    for after in BUSMONS:
        for at, closed in closed_windows(start, after):
            ended = start + WINDOW * closed
            yield f"busmon_audit_last_closed_timestamp_seconds{{{of(after)}}} {ended} {at}\n"
    yield "# TYPE busmon_audit_messages counter\n"
    for bus, stage, missing in STAGES:
        for after in BUSMONS:
            labels = f'{of(after)},bus="{bus}",topic="t",stage="{stage}"'
            for at, closed in closed_windows(start, after):
                value = HANDLED * closed - missing * (closed // 2)
                yield f"busmon_audit_messages_total{{{labels}}} {value} {at}\n"
    yield "# EOF\n"


def of(after: float) -> str:
    """Return the labels of a busmon."""
    return f'namespace="packit--prod",job="busmon",instance="{after}"'


def closed_windows(start: int, after: float) -> Iterator[tuple[int, int]]:
    """Yield the time of each scrape, and how many windows are closed then."""
    random = Random(after)
    closings = [start + after + WINDOW * number + random.random() for number in range(WINDOWS)]
    for at in range(start + 7, start + HOURS * 3600, SCRAPE_SECONDS):
        if after == AWAY and AWAY_BEGAN < at - start < AWAY_ENDED:
            continue
        yield at, sum(closing <= at for closing in closings)


@pytest.mark.parametrize("after", CLOSED_AFTER)
@pytest.mark.parametrize("zoom", ZOOMS)
def test_a_graph_of_the_audit_is_smooth(
    prometheus: Prometheus, end: int, zoom: str, after: float
) -> None:
    values = curve(prometheus, end, "to be handled (bus)", ZOOMS[zoom], after)
    assert values == pytest.approx([60 * HANDLED / WINDOW] * len(values), rel=0.001)


@pytest.mark.parametrize("after", CLOSED_AFTER)
def test_the_sum_of_a_graph_of_the_audit_is_right(
    prometheus: Prometheus, end: int, after: float
) -> None:
    zoom = ZOOMS["6h"]
    values = curve(prometheus, end, "passed on (listener)", zoom, after)
    messages = sum(values) * zoom.step / 60
    windows = len(values) * zoom.step / WINDOW
    assert messages == pytest.approx(windows * (HANDLED - MISSING / 2), rel=0.005)


def test_an_unwatched_bus_is_not_compared_unless_it_is_alone(
    prometheus: Prometheus, end: int
) -> None:
    for bus in (".*", "centos"):
        values = curve(prometheus, end, "to be handled (bus)", ZOOMS["6h"], 120, bus)
        assert values == pytest.approx([60 * HANDLED / WINDOW] * len(values), rel=0.001)


def test_what_is_closed_at_once_after_an_absence_is_no_peak(
    prometheus: Prometheus, end: int
) -> None:
    values = curve(prometheus, end, "to be handled (bus)", ZOOMS["6h"], AWAY)
    seconds_unseen = AWAY_ENDED - AWAY_BEGAN - ZOOMS["6h"].rate_interval
    assert len(values) < 6 * 3600 / ZOOMS["6h"].step - seconds_unseen / ZOOMS["6h"].step
    assert values == pytest.approx([60 * HANDLED / WINDOW] * len(values), rel=0.001)


def curve(
    prometheus: Prometheus, end: int, name: str, zoom: Zoom, after: float, bus: str = ".*"
) -> list[float]:
    """Return the values that the first panel shows of a series in the last six hours."""
    first = panels(BOARDS["busmon-bus"])[0]
    expr = next(one["expr"] for one in first["targets"] if one["legendFormat"] == name)
    chosen = {"instance": str(after), "bus": bus, "__rate_interval": f"{zoom.rate_interval // 60}m"}
    chosen["__rate_interval"] += f"{zoom.rate_interval % 60}s"
    (series,) = prometheus.ask(
        "query_range",
        query=filled(expr, CHOSEN | chosen),
        start=end - 6 * 3600,
        end=end - zoom.step,
        step=zoom.step,
    )["result"]
    if after != AWAY:
        assert len(series["values"]) == 6 * 3600 // zoom.step
    return [float(value) for _, value in series["values"]]
