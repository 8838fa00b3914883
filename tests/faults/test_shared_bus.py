"""Several busmons with one database receive from one queue: each message counts once."""

import random
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.support.brokers import wait_until
from tests.support.brokers.proxy import Proxy
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.buses import Bus
from tests.support.busmon_process import Busmon
from tests.support.ledger_server import LedgerServer
from tests.support.replicas import leader_of, metric, replicas
from tests.support.streams import assert_exact, publish, publishing

# Tried, too: 30 of them at random with 50,000 messages, and RabbitMQ killed among them.
FAILURES = ("leader", "database", "others", "leader")
MESSAGES = 2000  # before each


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
        wait_until(partial(is_ready, busmon), 60, "busmon to be ready")
    assert_exact(leader, stream)
    for busmon in three:
        wait_until(lambda: busmon.counts() == leader.counts(), what="the same")  # noqa: B023 - now
    assert metric(leader, "busmon_replicas") == 3


def test_a_follower_cut_off_in_the_middle_of_a_write_leads_soon_after(
    fedora: Bus, ledger_server: LedgerServer, tmp_path: Path
) -> None:
    database, buses = ledger_server.emptied(), {"fedora": fedora.settings}
    directories = [tmp_path / "leader", tmp_path / "follower"]
    for directory in directories:
        directory.mkdir()
    with Proxy(ledger_server.port) as proxy:
        urls = [ledger_server.url_of(database), ledger_server.url_of(database, proxy.port)]
        leader, follower = (
            Busmon(directory, buses, url=url)
            for directory, url in zip(directories, urls, strict=True)
        )
        with leader, follower:
            for busmon in (leader, follower):
                wait_until(partial(is_ready, busmon), 60, "busmon to be ready")
            with publishing([fedora.stream]):
                proxy.half_open()  # what it writes now is lost on the way, and it does not know
                time.sleep(1)
                leader.kill()
                leader_of([follower])
            assert_exact(follower, [fedora.stream])
            assert not follower.logged("neither lead nor follow")


def is_ready(busmon: Busmon) -> bool:
    """Return whether all its buses are received. While one begins to lead, nobody answers."""
    with suppress(OSError):
        return not busmon.troubles()
    return False
