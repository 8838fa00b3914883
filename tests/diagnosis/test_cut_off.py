"""The verdict on a bus that only the busmons receive that follow."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from busmon.diagnosis.verdict import FaultKind
from busmon.ledger.ledger import Ledger
from busmon.settings.postgresql import Database
from busmon.silence import shared
from busmon.silence.shared import FRESH_SECONDS, FollowersReception
from busmon.sources.base import Cause, ConnectionState
from tests.support.diagnosis import Bench
from tests.support.ledger_server import LedgerServer
from tests.support.ledgers import database_at

CUT_OFF = "only other busmons receive from it: this one's connection is down: network: refused"


@pytest.fixture
def database(ledger_server: LedgerServer) -> Database:
    return database_at(ledger_server.url_of(ledger_server.cleared()))


@pytest.fixture
def bench(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """One that leads, cut off from the bus."""
    monkeypatch.setattr(shared, "READ_SECONDS", 60.0)  # the machine may stand still
    bench = Bench(path=database)
    bench.connection.down(Cause.NETWORK, "refused")
    yield bench
    bench.ledger.close()


@pytest.fixture
def follower(database: Database, bench: Bench) -> Iterator[FollowersReception]:  # noqa: ARG001 - that one leads
    """One that is connected."""
    connection = ConnectionState()
    connection.up()
    with closing(Ledger(database, follows=True)) as ledger:
        yield FollowersReception(ledger, {"fedora": connection})


def test_while_others_receive_the_cut_off_one_blames_nobody(
    bench: Bench, follower: FollowersReception
) -> None:
    follower.tick(bench.now)
    verdict = bench.refresh()
    assert verdict.kind is FaultKind.NONE
    assert verdict.evidence[1:] == (CUT_OFF,)
    verdict = bench.refresh(FRESH_SECONDS + 1)
    assert (verdict.kind, CUT_OFF in verdict.evidence) == (FaultKind.CONNECTION, False)


def test_if_others_receive_nothing_either_it_is_the_bus(
    bench: Bench, follower: FollowersReception
) -> None:
    for topic in ("busy", "as busy"):
        bench.past(topic, 5 * 3600)
    bench.silence.learn(bench.now)
    follower.tick(bench.now)
    verdict = bench.refresh()
    assert (verdict.kind, CUT_OFF in verdict.evidence) == (FaultKind.BUS, True)
