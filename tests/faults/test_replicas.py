"""Several busmons with one database: one leads, and another goes on when it is gone."""

from pathlib import Path

import pytest

from tests.faults.stopping import Bus, wait_until_counted
from tests.support.brokers import wait_until
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.ledger_server import LedgerServer
from tests.support.replicas import leads, metric, replicas, says
from tests.support.streams import standing_still

TAKE_OVER_SECONDS = 15


@pytest.fixture
def bus(mosquitto: Mosquitto) -> Bus:
    return Bus(mosquitto)


def test_a_second_busmon_waits_and_takes_over_from_the_first(
    bus: Bus, ledger_server: LedgerServer, tmp_path: Path
) -> None:
    url = ledger_server.url_of(ledger_server.emptied())
    with replicas(2, tmp_path, {"centos": bus.settings}, url) as (first, second):
        first.wait_until_ready()
        bus.publish(100)
        wait_until_counted(first, bus, 100)
        assert leads(first)
        assert not leads(second)
        wait_until(lambda: metric(first, "busmon_replicas") == 2, what="two replicas")
        standby = f"standby: {first.url} leads"
        wait_until(lambda: says(second, standby), what=standby)
        assert second.ask("/live") == (200, ["live"])
        assert second.ask("/v1/status") == (503, [standby])
        wait_until_counted(second, bus, 100)
        first.kill()
        bus.publish(50)
        wait_until(lambda: says(second, "ready"), TAKE_OVER_SECONDS, "the second to lead")
        wait_until_counted(second, bus, 150)
        first.launch()
        standby = f"standby: {second.url} leads"
        wait_until(lambda: says(first, standby), what=standby)
        with standing_still(second):  # as if its host, or its network, hung
            bus.publish(50)
            wait_until(lambda: says(first, "ready"), TAKE_OVER_SECONDS, "the first to lead")
            wait_until_counted(first, bus, 200)
        standby = f"standby: {first.url} leads"
        wait_until(lambda: says(second, standby), what=standby)
        bus.publish(50)
        wait_until_counted(first, bus, 250)
