"""Expressions of PromQL that take the increase of a counter that has a label `topic`.

The count of a topic that no longer comes is added to that of the topic `__other__`, which jumps
then. So no expression takes the increase of `__other__`.
"""

import re
from collections.abc import Iterable
from pathlib import Path

METRICS = Path(__file__).parents[2] / "config/prometheus/METRICS.md"


def increases(exprs: Iterable[str]) -> list[str]:
    """Return the selector of each range of such a counter."""
    names = re.findall(r"`(busmon_\w+_total)\{[^}`]*\btopic\b", METRICS.read_text())
    assert len(names) == 7
    selector = rf"((?:{'|'.join(names)})\b[^\[\]]*)\["
    return [found for expr in exprs for found in re.findall(selector, expr)]


def of_other_topics(exprs: Iterable[str]) -> list[str]:
    """Return those of them that include `__other__`."""
    return [found for found in increases(exprs) if 'topic!="__other__"' not in found]
