"""What the alerts say: Prometheus expands each text for made-up labels.

Run `python -m tests.deploy.alert_texts [NAMESPACE]` to read them all.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import yaml

RULES = Path(__file__).parents[2] / "config/prometheus/rules"
PAGES, GRAFANA = "https://workers.packit.dev/busmon", "https://grafana.example"
VALUES = {
    "namespace": "packit--prod",
    "bus": "fedora",
    "topic": "git/#/a b",
    "stage": "worker",
    "slo": "builds",
    "queue": "short-running",
    "task": "task.babysit",
    "instance": "busmon-1",
    "outcome": "error",
    "reason": "rule-raises",
}
FURTHER = 'kind="temporary",side="archive"'  # labels that texts ask for by value
STARTED, EVALUATED = "1970-01-01 00:00 UTC", "5m"


class AlertText(NamedTuple):
    """An alert with the labels and annotations that Alertmanager would get."""

    name: str
    labels: dict[str, str]
    annotations: dict[str, str]


def alerts(folder: Path = RULES) -> list[dict[str, Any]]:
    """Return the alerts of all rule files."""
    groups = [
        g
        for path in sorted(folder.glob("*.yml"))
        for g in yaml.safe_load(path.read_text())["groups"]
    ]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def labels_used(alert: dict[str, Any]) -> list[str]:
    """Return the labels that the texts of an alert name."""
    return sorted(set(re.findall(r"\$labels\.(\w+)", str(alert["annotations"]))) | {"namespace"})


def expanded(
    namespace: str = VALUES["namespace"],
    *,
    topic: str = VALUES["topic"],
    linked: bool = True,
    value: int = 3,
    lacking: Collection[str] = (),
) -> list[AlertText]:
    """Return each alert with the labels that it uses but for some, with or without links.

    Its value, and all that its texts ask Prometheus, is the same; times are 0.
    """
    values = VALUES | {"namespace": namespace, "topic": topic} | dict.fromkeys(lacking, "")
    labels = ",".join(f"{name}={json.dumps(value)}" for name, value in values.items())
    urls = f'public_url="{PAGES}",grafana_url="{GRAFANA}"'
    info = f'busmon_web_info{{{urls},job="busmon",namespace="{namespace}",instance="busmon-1"}}'
    rules = [
        {key: rule[key] for key in ("alert", "labels", "annotations")}
        | {"expr": f"max by ({', '.join(labels_used(rule))}) (given)"}
        for rule in alerts()
    ]
    queried = set(re.findall(r"`[^`]*?([\w:]+)\{[^`]*`", str(rules)))
    queried -= {"busmon_web_info", "ALERTS_FOR_STATE"}
    for number, rule in enumerate(rules):  # each by itself, although variants have the same name
        rule["labels"] = rule["labels"] | {"number": str(number)}
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": f"given{{{labels}}}", "values": f"{value}x5"},
                    {"series": info, "values": "1x5" if linked else "_x5"},
                    *(
                        {
                            "series": f'{name}{{{labels},job="busmon",{FURTHER}}}',
                            "values": "0x5" if "timestamp" in name else f"{value}x5",
                        }
                        for name in sorted(queried)
                    ),
                ],
                "alert_rule_test": [
                    {"eval_time": EVALUATED, "alertname": name}
                    for name in {rule["alert"]: None for rule in rules}
                ],
            }
        ],
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        groups = {"groups": [{"name": "all", "rules": rules}]}
        (folder / "rules.yml").write_text(yaml.safe_dump(groups))
        (folder / "test.yml").write_text(yaml.safe_dump(test))
        command: list[str | Path] = ["promtool", "test", "rules", folder / "test.yml"]
        printed = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.findall(r"Labels:\{(.*)\}\n +Annotations:\{(.*)\}", printed.stdout + printed.stderr)
    texts = [(_pairs(of), _pairs(annotations)) for of, annotations in found]
    texts.sort(key=lambda text: int(text[0].pop("number")))
    return [AlertText(of.pop("alertname"), of, annotations) for of, annotations in texts]


def _pairs(text: str) -> dict[str, str]:
    pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', text)
    return {name: value.replace('\\"', '"').replace("\\\\", "\\") for name, value in pairs}


if __name__ == "__main__":
    for alert in expanded(*sys.argv[1:]):
        print(f"{alert.name} {alert.labels}")
        for title, text in alert.annotations.items():
            print(f"  {title}: {text}")
        print()
