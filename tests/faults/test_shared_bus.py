"""Several busmons with one database receive from one queue: each message counts once."""

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.brokers import wait_until
from tests.support.brokers.proxy import Proxy
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.buses import Bus
from tests.support.busmon_process import Busmon
from tests.support.ledger_server import LedgerServer
from tests.support.replicas import leader_of, metric, replicas, says
from tests.support.streams import assert_exact, publish, publishing

# Tried, too: 30 of them at random with 50,000 messages, and RabbitMQ killed among them.
FAILURES = ("leader", "database", "others", "leader")
MESSAGES = 2000  # before each
# It reads all the time, and may take long.
AUDIT = '[audit]\nwindow = "1s"\ngrace = "1s"\n[audit.reports]\nbus = "fedora"\ntoken = "t0ken"'


@pytest.fixture
def three(fedora: Bus, ledger_server: LedgerServer, tmp_path: Path) -> Iterator[list[Busmon]]:
    url = ledger_server.url_of(ledger_server.emptied())
    with replicas(3, tmp_path, {"fedora": fedora.settings}, url) as started:
        for busmon in started:
            busmon.wait_until_ready()
        yield started


def test_whatever_is_killed_each_message_of_a_shared_queue_counts_once(
    three: list[Busmon], fedora: Bus, ledger_server: LedgerServer, rabbitmq: RabbitMQ
) -> None:
    rng, stream = random.Random(19), [fedora.stream]
    for failure in FAILURES:
        leader = leader_of(three)
        publish(stream, MESSAGES)
        time.sleep(rng.uniform(0, 0.3))  # any instant will do
        match failure:
            case "database":
                with ledger_server.away():
                    pass
            case "broker":
                rabbitmq.kill()
                rabbitmq.start()
            case "leader":
                leader.kill()
                leader.start()
            case "others":
                others = [busmon for busmon in three if busmon is not leader]
                for busmon in others:
                    busmon.kill()
                for busmon in others:
                    busmon.start()
    leader = leader_of(three)
    for busmon in three:
        busmon.wait_until_ready()
    assert_exact(leader, stream)
    for busmon in three:
        wait_until(lambda: busmon.counts() == leader.counts(), what="the same")  # noqa: B023 - now
    wait_until(lambda: metric(leader, "busmon_replicas") == 3, what="three replicas")


@pytest.mark.parametrize("cut_off", ["follower", "leader"])
def test_a_busmon_cut_off_from_the_database_leads_or_follows_soon(
    cut_off: str, fedora: Bus, ledger_server: LedgerServer, tmp_path: Path
) -> None:
    database, buses = ledger_server.emptied(), {"fedora": fedora.settings}
    with Proxy(ledger_server.port) as proxy, ExitStack() as running:
        busmons = {}
        for name in ("leader", "follower"):
            (tmp_path / name).mkdir()
            url = ledger_server.url_of(database, proxy.port if name == cut_off else 0)
            busmons[name] = Busmon(tmp_path / name, buses, url=url)
            busmons[name].configure(AUDIT)
            running.enter_context(busmons[name])
        for busmon in busmons.values():
            busmon.wait_until_ready()
        leader, follower = busmons.values()
        with publishing([fedora.stream]):
            proxy.half_open()  # what it writes and asks now is lost, and it does not know
            if cut_off == "follower":
                time.sleep(1)
                leader.kill()
            leader_of([follower])
        if cut_off == "leader":
            standby = f"standby: {follower.url} leads"
            wait_until(lambda: says(leader, standby), what=standby)
        assert_exact(follower, [fedora.stream])
        assert not busmons[cut_off].logged("neither lead nor follow")
