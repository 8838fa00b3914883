"""What was scraped at given times, and a real Prometheus that serves it."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.prometheus import Prometheus, numbers

INTERVAL = 15  # seconds between two scrapes


class Recording:
    """A file of OpenMetrics, which has the time of each sample."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("w")

    def add(self, text: str, at: float, **labels: str) -> None:
        """Write metrics with these labels, unless they have their own (`honor_labels`)."""
        self._file.writelines(
            f"{_labelled(line.rpartition(' ')[0], labels)} {line.rpartition(' ')[2]} {at:.0f}\n"
            for line in [*text.splitlines(), "up 1"]
            if line and not line.startswith("#")
        )

    def close(self) -> None:
        """Write its end."""
        self._file.write("# EOF\n")
        self._file.close()


def _labelled(series: str, labels: Mapping[str, str]) -> str:
    name, _, own = series.partition("{")
    added = [f'{key}="{value}"' for key, value in labels.items() if f'{key}="' not in own]
    return f"{name}{{{','.join([own.removesuffix('}')] * bool(own) + added)}}}"


class RecordedPrometheus(Prometheus):
    """A Prometheus for which it is always the end of a recording."""

    def __init__(self, directory: Path, recording: Path, begin: float, end: float) -> None:
        self.recording, self.begin, self.end = recording, begin, end
        blocks = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "-q"]
        data = directory / "prometheus"
        subprocess.run([*blocks, recording, data], check=True, timeout=120)
        super().__init__(directory, {}, "--storage.tsdb.retention.time=100y")

    def now(self, expr: str) -> list[dict[str, Any]]:
        """See Prometheus."""
        found = self.ask("query", query=expr, time=self.end)["result"]
        return numbers({**series, "values": [series["value"]]} for series in found)

    def over_time(self, expr: str, step: float) -> list[dict[str, Any]]:
        """Return the series of an expression with their values every `step` seconds."""
        # As Grafana does, so that the points do not move with the time range.
        begin, end = (at // step * step for at in (self.begin, self.end))
        span = {"start": begin, "end": end, "step": step}
        return numbers(self.ask("query_range", query=expr, **span)["result"])
