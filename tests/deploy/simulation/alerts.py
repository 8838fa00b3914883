"""Which alerts of the shipped rules fire while what was recorded takes place.

promtool evaluates them, with the recording as its input. Its clock begins at 0, so times in values
are moved, too.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from tests.deploy.simulation.recording import INTERVAL
from tests.support.busmon_process import PROJECT
from tests.support.prometheus import promtool_test

RULES = sorted((PROJECT / "config" / "prometheus" / "rules").glob("*.yml"))
SERIES = re.compile("busmon_|process_|up{|events_processed|github_webhook")  # that the rules read
TIME = re.compile(r"\w+_(timestamp|start_time)_seconds")
ASKED = 'group by (alertname) (ALERTS{alertstate="firing", severity="critical"})'


def critical(recording: Path, begin: float, end: float, at: Sequence[float]) -> list[set[str]]:
    """Return the names of the alerts that wake somebody up at these Unix times."""
    asked = [f"{time - begin:.0f}s" for time in at]
    test = {
        "interval": f"{INTERVAL}s",
        "input_series": list(_series(recording, begin, round((end - begin) / INTERVAL))),
        "promql_expr_test": [{"expr": ASKED, "eval_time": time} for time in asked],
    }
    # Once a minute, since four times as often takes four times as long.
    rules = {"rule_files": list(map(str, RULES)), "evaluation_interval": "1m", "tests": [test]}
    said = promtool_test(recording.with_suffix(".yml"), rules)
    answers = re.findall(r"^ +got: (.*)$", said, re.MULTILINE)
    assert len(answers) == len(at), said
    return [set(re.findall(r'alertname="(\w+)"', answer)) for answer in answers]


def _series(recording: Path, begin: float, last: int) -> Iterator[Mapping[str, str]]:
    values: dict[str, dict[int, float]] = {}
    with recording.open() as lines:
        for line in filter(SERIES.match, lines):
            series, value, at = line.rsplit(" ", 2)
            moved = begin if TIME.match(series) else 0
            values.setdefault(series, {})[round((float(at) - begin) / INTERVAL)] = (
                float(value) - moved
            )
    for series, known in values.items():
        runs = groupby(map(known.get, range(last + 1)))
        parts = ((value, len(list(run)) - 1) for value, run in runs)
        text = " ".join(f"_x{n + 1}" if value is None else f"{value!r}x{n}" for value, n in parts)
        yield {"series": series, "values": text}
