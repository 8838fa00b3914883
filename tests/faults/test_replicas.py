"""Several busmons with one database: one leads, and another goes on when it is gone."""

import json
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.faults.stopping import Bus, wait_until_counted
from tests.support.brokers import wait_until
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.busmon_process import Busmon
from tests.support.ledger_server import LedgerServer
from tests.support.replicas import WARNING, leads, metric, replicas, says
from tests.support.streams import standing_still

REPORTS = '[audit.reports]\nbus = "centos"\ntoken = "t0ken"'


@pytest.fixture
def bus(mosquitto: Mosquitto) -> Bus:
    return Bus(mosquitto)


def test_a_second_busmon_waits_and_takes_over_from_the_first(
    bus: Bus, ledger_server: LedgerServer, tmp_path: Path
) -> None:
    url = ledger_server.url_of(ledger_server.emptied())
    with replicas(2, tmp_path, {"centos": bus.settings}, url, REPORTS) as (first, second):
        first.wait_until_ready()
        bus.publish(100)
        wait_until_counted(first, bus, 100)
        assert leads(first)
        assert not leads(second)
        wait_until(lambda: metric(first, "busmon_replicas") == 2, what="two replicas")
        standby = f"standby: {first.url} leads"
        wait_until(lambda: says(second, standby), what=standby)
        assert second.ask("/live") == (200, ["live"])
        wait_until_counted(second, bus, 100)
        assert_passed_on(first, second)
        first.kill()
        bus.publish(50)
        ready = (200, ["ready", WARNING])  # it answers all the time until then: else `ask` raises
        wait_until(lambda: second.ask("/ready") == ready, what="the second to lead")
        wait_until_counted(second, bus, 150)
        first.launch()
        standby = f"standby: {second.url} leads"
        wait_until(lambda: says(first, standby), what=standby)
        with standing_still(second):  # as if its host, or its network, hung
            bus.publish(50)
            wait_until(lambda: says(first, "ready"), what="the first to lead")
            wait_until_counted(first, bus, 200)
        standby = f"standby: {first.url} leads"
        wait_until(lambda: says(second, standby), what=standby)
        bus.publish(50)
        wait_until_counted(first, bus, 250)


def assert_passed_on(leader: Busmon, follower: Busmon) -> None:
    """The leader answers what a follower is asked, and takes the reports that a tap sends it."""
    for path in ("/topics", "/topics?bus=c%C3%A9", "/v1/topics/centos/a%2Fb", "/none", "/-/x"):
        assert follower.ask(path)[0] == leader.ask(path)[0]
    assert follower.ask("/v1/openapi.json") == leader.ask("/v1/openapi.json")
    batch = {"tap": "1", "seq": 1, "bus": "centos", "since": 1, "until": 0, "lost": 0}
    body = json.dumps(batch | {"reports": []}).encode()
    answers = {}
    for token in ("t0ken", "wrong"):
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        request = Request(f"{follower.url}/v1/reports", body, headers)
        try:
            with urlopen(request, timeout=30) as answer:
                answers[token] = answer.status, answer.read()
        except HTTPError as error:
            with error:
                answers[token] = error.code, error.headers["WWW-Authenticate"]
    assert answers == {
        "t0ken": (200, b"taken\n"),
        "wrong": (401, 'Bearer realm="busmon reports"'),
    }
    assert metric(leader, "busmon_tap_last_report_timestamp_seconds") > 0
