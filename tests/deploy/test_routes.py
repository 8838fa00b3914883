"""Alertmanager's routes, checked by amtool."""

import re
from typing import Any

import pytest
import yaml

from tests.deploy.test_rules import ALERTS, PROJECT, named, run, severity

ALERTMANAGER = PROJECT / "config/alertmanager/alertmanager.yml"


def test_amtool_finds_nothing_wrong_with_the_routes() -> None:
    run("amtool", "check-config", ALERTMANAGER)


@pytest.mark.parametrize("alert", ALERTS, ids=named)
def test_critical_alerts_wake_somebody_up_and_others_do_not(alert: dict[str, Any]) -> None:
    receiver = {"critical": "pager", "warning": "chat", "none": "heartbeat"}
    labels = [f"severity={severity(alert)}", f"service={alert['labels']['service']}"]
    run(
        "amtool",
        "config",
        "routes",
        "test",
        f"--config.file={ALERTMANAGER}",
        f"--verify.receivers={receiver[severity(alert)]}",
        f"alertname={alert['alert']}",
        *labels,
    )


def test_an_alert_that_the_settings_switch_off_reaches_nobody() -> None:
    run(
        "amtool",
        "config",
        "routes",
        "test",
        f"--config.file={ALERTMANAGER}",
        "--verify.receivers=nobody",
        "alertname=BusmonTopicLow",
        "severity=none",
        "service=busmon",
    )


def test_inhibition_names_only_alerts_that_exist() -> None:
    config = yaml.safe_load(ALERTMANAGER.read_text())
    text = " ".join(str(rule) for rule in config["inhibit_rules"])
    assert set(re.findall(r"Busmon\w+|Watchdog", text)) <= {alert["alert"] for alert in ALERTS}
