"""A real PgBouncer before the database: in session mode all is well, else no lock would hold."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest

from busmon.ledger.errors import LedgerError, LedgerInUseError
from busmon.ledger.ledger import Ledger
from busmon.ledger.postgresql.connection import PostgresConnection
from busmon.settings.postgresql import Database
from tests.support.brokers import wait_until
from tests.support.brokers.pgbouncer import PgBouncer
from tests.support.ledger_server import PASSWORD, USER, LedgerServer, directory
from tests.support.ledgers import counted, database_at, judged

SHARED = "shares sessions; it must be in session mode"


@contextmanager
def pooled(server: LedgerServer, mode: str) -> Iterator[Database]:
    """Yield an empty ledger by way of a pooler."""
    name = server.cleared()
    server.disconnect()
    with (
        directory("pgbouncer") as path,
        PgBouncer(path, mode, server.port, USER, PASSWORD) as pooler,
    ):
        yield database_at(server.url_of(name, pooler.port))


def test_in_session_mode_one_leads_and_another_follows(ledger_server: LedgerServer) -> None:
    with pooled(ledger_server, "session") as database:
        with closing(Ledger(database)) as leader:
            with closing(Ledger(database, follows=True)) as follower:
                for ledger in (leader, follower):
                    ledger.record(judged(1))
                assert counted(leader) == counted(follower) == 1
            with pytest.raises(LedgerInUseError):
                Ledger(database)

        def again() -> bool:
            try:
                Ledger(database).close()
            except LedgerInUseError:  # PgBouncer has not ended the leader's session yet
                return False
            return True

        wait_until(again, what="the lead to be free")


def test_in_transaction_mode_a_ledger_is_refused(ledger_server: LedgerServer) -> None:
    with (
        pooled(ledger_server, "transaction") as database,
        pytest.raises(LedgerError, match=SHARED),
    ):
        Ledger(database)


def test_a_session_that_changes_gives_no_lock(ledger_server: LedgerServer) -> None:
    with pooled(ledger_server, "transaction") as database:
        one, other = (PostgresConnection(database.parameters) for _ in range(2))
        with closing(one.of_server), closing(other.of_server):
            one.lock("SELECT 1")
            other.run("BEGIN")  # it now has the only session, until its transaction ends
            with pytest.raises(psycopg.NotSupportedError, match=SHARED):
                one.lock("SELECT 1")
