"""Who notices that nobody would be woken up: a heartbeat service outside."""

from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median

from tests.deploy.alerting import alertmanager, prometheus, receiving
from tests.support.brokers import wait_until
from tests.support.heartbeat import heartbeat


def test_a_heartbeat_service_alarms_without_prometheus_or_alertmanager(tmp_path: Path) -> None:
    """The service is a stand-in, the routes and rules are ours, in haste."""
    with receiving() as receiver, heartbeat(period=1, grace=2) as service:
        alerts, port = alertmanager(tmp_path, receiver, heartbeat=service.url)
        with alerts, prometheus(tmp_path, [], port) as server:
            for program in server, alerts:
                wait_until(lambda: service.up, what="a ping")
                some = len(service.pings) + 3
                wait_until(partial(service.pinged, some), what="pings that go on")
                program.kill()
                wait_until(lambda: not service.up, what="the alarm")
                program.start()
            wait_until(lambda: service.up, what="a ping after the restart")
    # One in each period, not in every second one: that would be half way to an alarm.
    assert median(later - earlier for earlier, later in pairwise(service.pings)) < 1.5
    assert {path for path, _ in receiver.notifications} <= {"/pager"}  # no busmon is there
