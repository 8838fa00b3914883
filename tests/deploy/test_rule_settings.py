"""The settings of the rules: a user's own file, and what is wrong in one."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.alert_texts import AlertText, alerts, expanded

BUILD = Path(__file__).parents[2] / "config/prometheus/build.py"


def build(folder: Path, settings: str) -> "subprocess.CompletedProcess[str]":
    own = folder / "my.toml"
    own.write_text(settings)
    command: list[str | Path] = [
        sys.executable,
        BUILD,
        "--settings",
        own,
        "--output",
        folder / "rules",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def built(folder: Path, settings: str) -> list[dict[str, Any]]:
    done = build(folder, settings)
    assert done.returncode == 0, done.stderr
    return alerts(folder / "rules")


def test_files_of_others_in_the_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/theirs.yml").write_text("groups: []\n")
    (tmp_path / "rules/old.yml").write_text("# Built by `make rules` from config/old.py\n")
    assert build(tmp_path, "").returncode == 0
    assert (tmp_path / "rules/theirs.yml").read_text() == "groups: []\n"
    assert not (tmp_path / "rules/old.yml").exists()


def test_a_file_with_only_what_differs_changes_rules_and_texts(tmp_path: Path) -> None:
    settings = """
        job = "watch"
        staging = []
        runbook = "https://wiki.example/busmon"

        [alerts]
        BusmonBusDisconnected.all = { for = "20m", severity = "warning" }
        BusmonListenerGap.losing.percent = 35
        BusmonUnmappedTopic = { for = "2h", keep_firing_for = "1d" }
    """
    rules = built(tmp_path, settings)
    text = yaml.safe_dump(rules, width=1000)
    assert 'job=~"watch"' in text
    assert "(.+/)?busmon" not in text
    assert "downgraded_from" not in text
    by_name = {(rule["alert"], rule.get("for")): rule for rule in rules}
    disconnected = by_name["BusmonBusDisconnected", "20m"]
    # Two rules of one severity are told apart by their variant.
    assert disconnected["labels"] == {"severity": "warning", "variant": "all", "service": "busmon"}
    assert "for 20 minutes;" in disconnected["annotations"]["summary"]
    assert disconnected["annotations"]["runbook_url"] == (
        "https://wiki.example/busmon#busmonbusdisconnected"
    )
    assert by_name["BusmonUnmappedTopic", "2h"]["keep_firing_for"] == "1d"
    [losing] = [rule for rule in rules if "35 / 100" in rule["expr"]]
    assert "more than 35 %" in losing["annotations"]["summary"]


def test_topics_that_page_and_whom_to_tell_are_settings(tmp_path: Path) -> None:
    settings = """
        pages = "git[.].+"
        [publishers]
        '^git[.]' = "the team of CentOS's dist-git"
    """
    silent = [rule for rule in built(tmp_path, settings) if rule["alert"] == "BusmonTopicSilent"]
    assert len(silent) == 2
    for rule in silent:
        assert 'topic=~"git[.].+"' in rule["expr"]
        assert (
            "then tell {{ if match `^git[.]` $labels.topic }}the team of CentOS's dist-git"
            "{{ else }}the administrators of its publisher{{ end }}."
        ) in rule["annotations"]["description"]


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ("jobs = 'busmon'", "jobs: unknown setting"),
        ("staging = 'packit--stg'", "staging: 'packit--stg' is of another type than the default"),
        ("[alerts]\nBusmonDwon = {severity = 'none'}", "alerts.BusmonDwon: unknown setting"),
        ("[alerts.BusmonDown.all]\nfro = '1m'", "alerts.BusmonDown.all.fro: unknown setting"),
        (
            "[alerts.BusmonBlind.all]\nseverity = 'page'",
            "alerts.BusmonBlind.all.severity: 'page' is not critical or warning or none",
        ),
        ("job = [", "Invalid value (at end of document)"),
    ],
)
def test_a_mistake_in_the_settings_is_one_line(tmp_path: Path, settings: str, error: str) -> None:
    done = build(tmp_path, settings)
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path / 'my.toml'}: {error}\n"
    assert not (tmp_path / "rules").exists()


@pytest.mark.parametrize(("namespace", "wakes"), [("packit--prod", True), ("packit--stg", False)])
def test_nothing_in_a_staging_namespace_wakes_anybody_up(namespace: str, wakes: bool) -> None:
    def critical(alert: AlertText) -> bool:
        return "critical" in {alert.labels["severity"], alert.labels.get("downgraded_from")}

    texts = [alert for alert in expanded(namespace) if critical(alert)]
    assert len(texts) > 10
    for alert in texts:
        assert (alert.labels["severity"] == "critical") == wakes
        assert ("downgraded_from" in alert.labels) != wakes
