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
    # Two rules of one severity differ by their variant.
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


def test_texts_say_what_the_settings_say(tmp_path: Path) -> None:
    settings = """
        [alerts]
        BusmonDuplicatesHigh.for = "2h"
        BusmonDeliveryDelayHigh.for = "1h30m"
        BusmonTopicLow.hours.share = 0.125
        BusmonListenerGap.losing.percent = 0.5
        BusmonEventsNotProcessed.few.share = 0.6
    """
    said = "\n".join(rule["annotations"]["summary"] for rule in built(tmp_path, settings))
    assert "messages again in the last 30 minutes, and has done so for 2 hours." in said
    assert "For 1h30m, half of the messages" in said
    assert "less than 12.5 % of what came in these hours" in said
    assert "less than 60 % of what is usual" in said
    assert "more than 0.5 % of the last hour's messages" in said


def test_a_pattern_needs_no_escaping_of_its_own(tmp_path: Path) -> None:
    settings = r"""
        job = '(.+/)?busmon\d'
        staging = ['packit--stg\d']
        pages = '.+\.copr\.build\..+'
        [alerts]
        BusmonWorkerGap.open.queue = 'short\.running|up'
    """
    assert build(tmp_path, settings).returncode == 0
    files = list((tmp_path / "rules").glob("*.yml"))
    check: list[str | Path] = ["promtool", "check", "rules", *files]
    assert subprocess.run(check, capture_output=True, check=False).returncode == 0
    text = "".join(path.read_text() for path in files)
    for pattern in (r"busmon\\d", r"packit--stg\\d", r"copr\\.build\\.", r"short\\.running|up"):
        assert pattern in text


MISTAKES = {
    # a setting with its value: the place, and what is wrong
    "jobs = 'busmon'": "jobs: unknown setting; did you mean job?",
    "job = ''": "job: it is empty",
    "pages = '['": "pages: '[' is not a regular expression",
    "staging = ['a{{']": "staging: 'a{{' has '{{', which cannot be part of it",
    "status_page = 3": "status_page: 3 is not a text",
    "bus_administrators = ' '": "bus_administrators: it is empty",
    "runbook = 'https://$wiki'": "runbook: 'https://$wiki' has '$', which cannot be part of it",
    "publishers.'(' = 'us'": "publishers: '(' is not a regular expression",
    "publishers.x = 5": "publishers: 5 is not a text",
    "alerts.BusmonDwon = { severity = 'none' }": (
        "alerts.BusmonDwon: unknown setting; did you mean BusmonDown?"
    ),
    "alerts.BusmonDown.severity = 'none'": (
        "alerts.BusmonDown.severity: unknown setting; there are all, replica"
    ),
    "alerts.BusmonDown.all.fro = '1m'": (
        "alerts.BusmonDown.all.fro: unknown setting; did you mean for?"
    ),
    "alerts.BusmonBlind.all.severity = 'page'": (
        "alerts.BusmonBlind.all.severity: 'page' is not critical or warning or none"
    ),
    "alerts.BusmonBlind.all.for = '5 minutes'": (
        """alerts.BusmonBlind.all.for: '5 minutes' is not a duration such as "5m" or "1h30m\""""
    ),
    "alerts.Watchdog.keep_firing_for = ''": (
        """alerts.Watchdog.keep_firing_for: '' is not a duration such as "5m" or "1h30m\""""
    ),
    "alerts.BusmonQueueStuck.tasks = true": "alerts.BusmonQueueStuck.tasks: True is not a number",
    "alerts.BusmonQueueStuck.listener_tasks = '('": (
        "alerts.BusmonQueueStuck.listener_tasks: '(' is not a regular expression"
    ),
    "alerts.BusmonTopicLow.hours.share = 1.5": (
        "alerts.BusmonTopicLow.hours.share: 1.5 is not more than 0 and less than 1"
    ),
    "alerts.BusmonEventsNotProcessed.none.gateway = 'job=gateway'": (
        "alerts.BusmonEventsNotProcessed.none.gateway: 'job=gateway' is not a list of matchers"
    ),
}


def test_all_mistakes_in_the_settings_are_told_at_once(tmp_path: Path) -> None:
    done = build(tmp_path, "\n".join(MISTAKES))
    assert done.returncode == 1
    own = tmp_path / "my.toml"
    assert sorted(done.stderr.splitlines()) == sorted(f"{own}: {of}" for of in MISTAKES.values())
    assert not (tmp_path / "rules").exists()


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "rules").write_text("a file")
    done = build(tmp_path, "")
    assert done.returncode == 1
    assert done.stderr == f"[Errno 17] File exists: '{tmp_path / 'rules'}'\n"


def test_settings_that_are_no_toml_are_one_line(tmp_path: Path) -> None:
    done = build(tmp_path, "job = [")
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path / 'my.toml'}: Invalid value (at end of document)\n"


@pytest.mark.parametrize(("namespace", "wakes"), [("packit--prod", True), ("packit--stg", False)])
def test_nothing_in_a_staging_namespace_wakes_anybody_up(namespace: str, wakes: bool) -> None:
    def critical(alert: AlertText) -> bool:
        return "critical" in {alert.labels["severity"], alert.labels.get("downgraded_from")}

    texts = [alert for alert in expanded(namespace) if critical(alert)]
    assert len(texts) > 10
    for alert in texts:
        assert (alert.labels["severity"] == "critical") == wakes
        assert ("downgraded_from" in alert.labels) != wakes
