"""Alertmanager's routes, checked by amtool."""

import re
from typing import Any

import pytest
import yaml

from tests.deploy.test_rules import ALERTS, PROJECT, named, run, severity

ALERTMANAGER = PROJECT / "config/alertmanager/alertmanager.yml"


def test_amtool_finds_nothing_wrong_with_the_routes() -> None:
    run("amtool", "check-config", ALERTMANAGER)


def check_route(receiver: str, **labels: str) -> None:
    """Check that an alert of busmon with these labels is sent to this receiver."""
    run(
        "amtool",
        "config",
        "routes",
        "test",
        f"--config.file={ALERTMANAGER}",
        f"--verify.receivers={receiver}",
        "service=busmon",
        *(f"{name}={value}" for name, value in labels.items()),
    )


@pytest.mark.parametrize("alert", ALERTS, ids=named)
def test_critical_alerts_wake_somebody_up_and_others_do_not(alert: dict[str, Any]) -> None:
    receiver = {"critical": "pager", "warning": "chat", "none": "heartbeat"}[severity(alert)]
    assert alert["labels"]["service"] == "busmon"
    check_route(receiver, alertname=alert["alert"], severity=severity(alert))


def test_an_alert_that_the_settings_switch_off_reaches_nobody() -> None:
    check_route("nobody", alertname="BusmonTopicLow", severity="none")


def test_inhibition_names_only_alerts_that_exist() -> None:
    config = yaml.safe_load(ALERTMANAGER.read_text())
    text = " ".join(str(rule) for rule in config["inhibit_rules"])
    assert set(re.findall(r"Busmon\w+|Watchdog", text)) <= {alert["alert"] for alert in ALERTS}
