"""busmon and the database of its ledger are killed while messages come."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.brokers import wait_until
from tests.support.buses import Bus
from tests.support.busmon_process import Busmon
from tests.support.ledger_server import LedgerServer
from tests.support.streams import assert_exact, in_mid_stream, publish

KILLS = 4  # of each; `KILLS=30` was tried, too


@pytest.fixture
def busmon(fedora: Bus, ledger_server: LedgerServer, tmp_path: Path) -> Iterator[Busmon]:
    url = ledger_server.url_of(ledger_server.emptied())
    with Busmon(tmp_path, {"fedora": fedora.settings}, url=url) as busmon:
        busmon.wait_until_ready()
        yield busmon


def test_kill_9_of_busmon_and_of_its_database_loses_and_doubles_nothing(
    busmon: Busmon, fedora: Bus, ledger_server: LedgerServer
) -> None:
    rng = random.Random(19)
    stream = [fedora.stream]
    publish(stream, 5000)
    for _ in range(KILLS):
        with in_mid_stream(busmon, stream, any):
            time.sleep(rng.uniform(0, 0.1))  # any instant will do
            busmon.kill()
            busmon.start()
        with in_mid_stream(busmon, stream, any):
            time.sleep(rng.uniform(0, 0.1))
            with ledger_server.away():
                pass
    wait_until(lambda: not busmon.troubles(), 60, "the ledger to be written again")
    assert_exact(busmon, stream)
