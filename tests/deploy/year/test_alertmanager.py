"""The model of Alertmanager against a real one, with our configuration: twenty cases at once.

Each case has a namespace of its own. A minute is as short as in haste.py; only what Alertmanager
does by its own clock, to forget a group within 30 s, is not.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import yaml

from tests.deploy.alerting import CONFIG, Receiver, alertmanager, receiving
from tests.deploy.haste import FACTOR
from tests.deploy.year.alertmanager import Alert, Alertmanager, Notification, pages
from tests.support.stalls import watching_for_stalls

LAST = 70  # minutes
APART = 1.9  # minutes: something may be so late on a busy machine
WATCHED = 4  # minutes of the watchdog
STALL = 1.0  # seconds: a machine that stood still for longer measures itself
ATTEMPTS = 3

# Alerts with their begin and end, none within two minutes of a flush. The first flush is half a
# minute after the begin of a group, the others every 5 minutes after it.
CASES = {
    "one": ["BusmonBlind 0 13"],
    "two-of-one-group": [
        "BusmonTopicSilent,topic=a,bus=fedora 0 13",
        "BusmonTopicSilent,topic=b,bus=fedora 0 13",
    ],
    "two-buses": ["BusmonListenerDown,bus=fedora 0 13", "BusmonListenerDown,bus=centos 0 13"],
    "joins-later": [
        "BusmonTopicSilent,topic=a,bus=fedora 0 23",
        "BusmonTopicSilent,topic=b,bus=fedora 8 23",
    ],
    "one-of-two-ends": [
        "BusmonTopicSilent,topic=a,bus=fedora 0 8",
        "BusmonTopicSilent,topic=b,bus=fedora 0 23",
    ],
    "fires-again-at-once": ["BusmonBlind 0 2", "BusmonBlind 3 23"],
    "fires-again-later": ["BusmonBlind 0 3", "BusmonBlind 50 58"],
    "cause-and-effect": [
        "BusmonBusDisconnected,bus=fedora 0 23",
        "BusmonListenerDown,bus=fedora 0 23",
    ],
    "effect-of-another-bus": [
        "BusmonBusDisconnected,bus=fedora 0 13",
        "BusmonListenerDown,bus=centos 0 13",
    ],
    "effect-before-its-cause": [
        "BusmonListenerDown,bus=fedora 0 18",
        "BusmonBusDisconnected,bus=fedora 3 31",
    ],
    "effect-outlasts-its-cause": [
        "BusmonBusDisconnected,bus=fedora 0 13",
        "BusmonListenerDown,bus=fedora 0 33",
    ],
    "effect-ends-soon-after-its-cause": [
        "BusmonBusDisconnected,bus=fedora 0 11",
        "BusmonListenerDown,bus=fedora 0 13",
    ],
    "effect-interrupted": [
        "BusmonListenerDown,bus=fedora 0 38",
        "BusmonBusDisconnected,bus=fedora 8 18",
    ],
    "warning-beside-its-page": [
        "BusmonListenerGap,bus=fedora,stage=listener 0 13",
        "BusmonListenerGap,bus=fedora,stage=listener,severity=warning 0 33",
    ],
    "down-between-restarts": ["BusmonDown 0 23", "BusmonRestarting 0 18"],
    "replica": [
        "BusmonDown,instance=a,severity=warning 0 13",
        "BusmonTopicSilent,bus=fedora,topic=a 0 13",
    ],
    "queues": [
        "BusmonQueueStuck,queue=a 0 18",
        "BusmonQueueGrowing,queue=a,severity=warning 0 18",
        "BusmonQueueGrowing,queue=b,severity=warning 0 18",
    ],
    "all-buses": [
        "BusmonDisconnected 0 18",
        "BusmonBusDisconnected,bus=fedora 0 18",
        "BusmonListenerGap,bus=fedora,stage=listener 3 33",
    ],
    "no-label-is-equal": [
        "BusmonQueueStuck,queue=a 0 18",
        "BusmonEventsNotProcessed 0 18",
    ],
    "switched-off": ["BusmonTopicLow,bus=fedora,severity=none 0 13"],
    "watchdog": [f"Watchdog,severity=none 0 {LAST}"],
}  # fmt: skip


def alerts_of(case: str) -> Iterator[Alert]:
    for text in CASES[case]:
        labels, begin, end = text.split()
        name, *others = labels.split(",")
        own = dict(label.split("=") for label in others)
        common = {"service": "busmon", "severity": "critical", "namespace": case}
        yield Alert(common | own | {"alertname": name}, float(begin), float(end))


def send(port: int, alerts: list[dict[str, Any]]) -> None:
    body = json.dumps(alerts).encode()
    url = f"http://127.0.0.1:{port}/api/v2/alerts"
    with urlopen(Request(url, body, {"Content-Type": "application/json"}), timeout=30):
        pass


def rfc3339(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f"{at % 1:.3f}Z"[1:]


@pytest.fixture(scope="module")
def received(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Notification]]:
    """Let all cases happen, and return what arrived, by namespace."""
    for _ in range(ATTEMPTS):
        with watching_for_stalls() as latest:
            arrived = notified(tmp_path_factory.mktemp("alertmanager"))
        if latest() < STALL:
            break
    return arrived


def notified(directory: Path) -> dict[str, list[Notification]]:
    events = [
        (minute, alert)
        for case in CASES
        for alert in alerts_of(case)
        for minute in (alert.begin, alert.end)
    ]
    with receiving() as receiver:
        server, port = alertmanager(directory, receiver)
        with server:
            began = time.time() + 1
            for minute in sorted({minute for minute, _ in events}):
                at = began + minute * 60 / FACTOR
                time.sleep(max(0, at - time.time()))
                now = [alert for moment, alert in events if moment == minute]
                send(
                    port,
                    [
                        {
                            "labels": dict(alert.labels),
                            "startsAt": rfc3339(began + alert.begin * 60 / FACTOR),
                            "endsAt": rfc3339(at if alert.end == minute else at + 3600),
                        }
                        for alert in now
                    ],
                )
        return _by_case(receiver, began)


def _by_case(receiver: Receiver, began: float) -> dict[str, list[Notification]]:
    found: dict[str, list[Notification]] = {case: [] for case in CASES}
    for at, (path, body) in zip(receiver.times, receiver.notifications, strict=True):
        firing, resolved = (
            tuple(Alert(one["labels"], 0, 0) for one in body["alerts"] if one["status"] == status)
            for status in ("firing", "resolved")
        )
        case = (firing + resolved)[0].labels["namespace"]
        minute = (at - began) * FACTOR / 60
        found[case].append(Notification(minute, path[1:], body["groupLabels"], firing, resolved))
    return found


def shown(notification: Notification) -> tuple[str, list[str], list[str]]:
    firing, resolved = (
        sorted(str(sorted(alert.labels.items())) for alert in alerts)
        for alerts in (notification.firing, notification.resolved)
    )
    return notification.receiver, firing, resolved


def by_group(notification: Notification) -> tuple[str, str, float]:
    """Of two groups, either may come first."""
    return notification.receiver, str(sorted(notification.group.items())), notification.at


@pytest.mark.parametrize("case", CASES)
def test_the_model_sends_what_alertmanager_sends(
    case: str, received: dict[str, list[Notification]]
) -> None:
    config = yaml.safe_load((CONFIG / "alertmanager/alertmanager.yml").read_text())
    expected = Alertmanager(config).notifications(list(alerts_of(case)))
    real = received[case]
    if case == "watchdog":
        expected, real = ([one for one in of if one.at < WATCHED - 0.5] for of in (expected, real))
    expected, real = (sorted(of, key=by_group) for of in (expected, real))
    assert [shown(one) for one in real] == [shown(one) for one in expected]
    for one, other in zip(real, expected, strict=True):
        assert abs(one.at - other.at) < APART, (case, one.at, other.at)


def test_what_joins_a_group_that_fires_is_no_new_page() -> None:
    config = yaml.safe_load((CONFIG / "alertmanager/alertmanager.yml").read_text())
    sent = Alertmanager(config).notifications(list(alerts_of("joins-later")))
    assert [one.status for one in sent] == ["firing", "firing", "resolved"]
    assert [one.status for one in pages(sent)] == ["firing", "resolved"]
