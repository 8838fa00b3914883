"""Samples of what needs a cluster, or the broker of a listener: counters grow with each scrape."""

import re

from tests.support.busmon_process import PROJECT

FOLDER = PROJECT / "tests" / "deploy" / "exporters"


def sample(name: str, scrapes: int) -> str:
    """Return a sample after so many scrapes: each counter grows by one with each of them."""
    text = (FOLDER / f"{name}.txt").read_text()
    counters = set(re.findall(r"^# TYPE (\S+) counter$", text, re.MULTILINE))

    def grow(line: str) -> str:
        series, _, value = line.rpartition(" ")
        return f"{series} {float(value) + scrapes}" if series.split("{")[0] in counters else line

    return "".join(f"{grow(line)}\n" for line in text.splitlines())
