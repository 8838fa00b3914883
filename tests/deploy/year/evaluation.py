"""The shipped rules over the made-up year, by promtool: which alerts fire from when to when.

Evaluated is each minute in which something is wrong, was in the last two hours, or will be in the
next two; in all others, nothing is wrong that a rule could see. Each such time is a namespace of
its own, which keeps it apart from the others in all rules. So one promtool evaluates many at once:
it takes long for each rule, and little for each series.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import yaml

from tests.deploy.test_rules import RULES, severity
from tests.deploy.year.alertmanager import Alert
from tests.deploy.year.causes import Cause
from tests.deploy.year.metrics import Series
from tests.deploy.year.plant import spans as spans_of
from tests.deploy.year.silences import Silence
from tests.silence.simulation.traffic import DAY, MINUTES, Span
from tests.support.prometheus import promtool_test

NAMESPACE = "packit--prod"
LEAD, LAG = 120, 120  # minutes, before and after what is wrong
LONGEST = DAY  # minutes of a span
AT_ONCE = 25  # spans
FIRST_HOURS = 12 * 60  # minutes of what can last for days, and wakes nobody up
FIRING = 'ALERTS{alertstate="firing", severity="critical"}'
ASKED = {
    "begin": f"{FIRING} unless {FIRING} offset 1m",
    "end": f"{FIRING} offset 1m unless {FIRING}",
}
ANSWER = re.compile(
    r'^ +expr: "(.*)", time: (\w+),\n +exp: nil\n +got: (.*(?:\n +\{.*)*)', re.MULTILINE
)
NAME = re.compile(r"\w+(?::\w+)+")  # of what is recorded
PART = re.compile(r"(\d+)([dhms])")
IN_MINUTES = {"d": DAY, "h": 60, "m": 1, "s": 1 / 60}


def wrong(causes: Iterable[Cause], topics: Iterable[Silence]) -> list[Span]:
    """Return the spans of the year to evaluate."""
    marks = np.zeros(MINUTES, dtype=bool)
    for cause in causes:
        last = cause.end if cause.kind.must else min(cause.end, cause.begin + FIRST_HOURS)
        marks[max(0, int(cause.begin) - LEAD) : int(last) + LAG] = True
    for topic in topics:
        if "copr" in topic.topic or "buildsys" in topic.topic or topic.topic.startswith("git."):
            for begin, end in spans_of(topic.ratio > 1):
                marks[max(0, begin - LEAD) : end + LAG] = True
    return [piece for span in spans_of(marks) for piece in _pieces(*span)]


def _pieces(begin: int, end: int) -> Iterator[Span]:
    """Yield a span in pieces, each of which knows what was before it."""
    while end - begin > LONGEST:
        yield begin, begin + LONGEST
        begin += LONGEST - LEAD
    yield begin, end


def critical_rules(folder: Path, files: Sequence[Path] = RULES) -> list[str]:
    """Write the alerts that wake somebody up, with what they read, and without texts.

    promtool would need twice the time for the others. Return the names of the groups, those first
    that only record.
    """
    groups = [group for path in files for group in yaml.safe_load(path.read_text())["groups"]]
    rules = [rule for group in groups for rule in group["rules"]]
    exprs = [rule["expr"] for rule in rules if "alert" in rule and severity(rule) == "critical"]
    read = set[str]()
    while exprs:
        names = set(NAME.findall(exprs.pop())) - read
        found = [rule for rule in rules if rule.get("record") in names]
        read |= {rule["record"] for rule in found}
        exprs += [rule["expr"] for rule in found]
    kept = []
    for group in groups:
        own = [
            rule | ({"annotations": {}} if "alert" in rule else {})
            for rule in group["rules"]
            if (rule["record"] in read if "record" in rule else severity(rule) == "critical")
        ]
        if own:
            kept.append(group | {"rules": own})
    kept.sort(key=lambda group: any("alert" in rule for rule in group["rules"]))
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": kept}))
    return [group["name"] for group in kept]


def firing(
    series: Sequence[Series], spans: Sequence[Span], folder: Path, files: Sequence[Path] = RULES
) -> list[Alert]:
    """Return when which critical alert fires in these spans, in minutes of the year."""
    by_length = sorted(spans, key=lambda span: span[1] - span[0])
    some = [by_length[first : first + AT_ONCE] for first in range(0, len(spans), AT_ONCE)]
    folder.mkdir()
    order = critical_rules(folder, files)

    def evaluated(number: int) -> list[Alert]:
        return _evaluate(series, some[number], folder / f"{number}.yml", order)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(evaluated, range(len(some))))
    return _merged(chain.from_iterable(found))


def _evaluate(
    series: Sequence[Series], spans: Sequence[Span], file: Path, order: Sequence[str]
) -> list[Alert]:
    test = {
        "interval": "1m",
        "input_series": [
            one.text(str(span[0]), span)
            for span in spans
            for one in series
            if one.says_something(span)
        ],
        "promql_expr_test": [
            {"expr": expr, "eval_time": f"{minute}m"}
            for minute in range(1, max(end - begin for begin, end in spans))
            for expr in ASKED.values()
        ],
    }
    rules = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "group_eval_order": order,
        "tests": [test],
    }
    said = promtool_test(file, rules)
    file.unlink()
    alerts = _alerts(said, dict(spans))
    # What begins after the end of its span is only that nothing is scraped any more.
    return [alert for alert in alerts if alert.begin < alert.end]


def _merged(alerts: Iterable[Alert]) -> list[Alert]:
    """Return the alerts by their begin; what overlaps with its like is one."""
    found: dict[frozenset[tuple[str, str]], list[Alert]] = {}
    for alert in sorted(alerts, key=lambda alert: alert.begin):
        alike = found.setdefault(frozenset(alert.labels.items()), [])
        if alike and alert.begin <= alike[-1].end:
            last = alike.pop()
            alert = replace(last, end=max(last.end, alert.end))
        alike.append(alert)
    return sorted(chain.from_iterable(found.values()), key=lambda alert: alert.begin)


def _alerts(answers: str, ends: dict[int, int]) -> Iterator[Alert]:
    assert "SUCCESS" in answers or ANSWER.search(answers), answers[:1000]
    began: dict[str, float] = {}
    for expr, time, got in ANSWER.findall(answers):
        minute = sum(int(number) * IN_MINUTES[unit] for number, unit in PART.findall(time))
        for found in re.findall(r"\{(.*?)\} 1E\+00", got):
            key = ",".join(sorted(re.findall(r'\w+="(?:[^"\\]|\\.)*"', found)))
            if " offset 1m unless " not in expr:
                began[key] = minute
            else:
                yield _alert(key, began.pop(key), minute, ends)
    for key, begin in began.items():
        yield _alert(key, begin, float("inf"), ends)


def _alert(key: str, begin: float, end: float, ends: dict[int, int]) -> Alert:
    labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', key))
    for name in ("__name__", "alertstate", "downgraded_from"):
        labels.pop(name, None)
    moved = int(labels["namespace"])
    labels["namespace"] = NAMESPACE
    return Alert(labels, moved + begin, min(moved + end, ends[moved]))
