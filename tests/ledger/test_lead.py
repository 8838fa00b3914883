"""Several ledgers in one database: one leads, and what another one writes is not confused."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from busmon.ledger.engine import Members
from busmon.ledger.errors import LedgerInUseError, LedgerUnreachable, LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.ledger.postgresql import engine
from busmon.settings.postgresql import Database
from tests.support.brokers import wait_until
from tests.support.ledger_server import LedgerServer
from tests.support.ledgers import counted, database_at, judged


@pytest.fixture
def database(ledger_server: LedgerServer, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setattr(engine, "READ_MEMBERS_SECONDS", 60.0)  # the machine may stand still
    return database_at(ledger_server.url_of(ledger_server.cleared()))


@pytest.fixture
def leader(database: Database) -> Iterator[Ledger]:
    with closing(Ledger(database)) as ledger:
        yield ledger


@pytest.fixture
def follower(database: Database, leader: Ledger) -> Iterator[Ledger]:  # noqa: ARG001 - first
    with closing(Ledger(database, follows=True)) as ledger:
        yield ledger


def wait_until_known(ledger: Ledger, replicas: int, *, led: bool) -> None:
    """Wait until so many have the ledger: the server ends a closed session a moment later."""

    def known() -> bool:
        members = ledger.members()
        return members is not None and (members.replicas, members.led) == (replicas, led)

    wait_until(known, what=f"the server to have {replicas} sessions, one of which leads: {led}")


def test_one_leads_and_all_know_who(database: Database, leader: Ledger, follower: Ledger) -> None:
    with pytest.raises(LedgerInUseError, match="in use by another busmon; that one leads"):
        Ledger(database)
    wait_until_known(leader, 2, led=True)
    leader.announce("http://[::]:12876")
    for ledger, leads in ((leader, True), (follower, False)):
        assert ledger.members() == Members(2, led=True, leads=leads, url="http://127.0.0.1:12876")
    leader.close()
    wait_until_known(follower, 1, led=False)


def test_both_record_and_a_message_counts_once(leader: Ledger, follower: Ledger) -> None:
    keys = ("package hello", "build 1")
    for number in range(3):
        for ledger in (leader, follower, follower, leader):
            ledger.record(judged(number, ledger is leader and "l", keys=keys))
    assert counted(leader) == counted(follower) == 5
    assert leader.duplicates() == follower.duplicates() == {"fedora": 19}


def test_who_lost_the_lead_writes_nothing_more(
    database: Database, leader: Ledger, ledger_server: LedgerServer
) -> None:
    leader.record(judged(1))
    ledger_server.disconnect()
    leader.record(judged(2))  # it has taken the lead again
    ledger_server.disconnect()
    with closing(Ledger(database)) as other:
        for ended in (False, True):
            with pytest.raises(LedgerWriteError, match="another busmon leads now"):
                leader.record(judged(3))
            if not ended:
                other.record(judged(4))
                other.close()
    with closing(Ledger(database)) as other:
        assert counted(other) == 3


def test_of_a_database_that_can_only_be_read_nobody_leads(
    database: Database, leader: Ledger, follower: Ledger, ledger_server: LedgerServer
) -> None:
    leader.close()
    name = database.parameters["dbname"]
    ledger_server.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    try:
        for _ in range(2):
            with pytest.raises(LedgerUnreachable, match="can only be read; is it a standby"):
                Ledger(database)
        wait_until_known(follower, 1, led=False)
    finally:
        ledger_server.sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    Ledger(database).close()
