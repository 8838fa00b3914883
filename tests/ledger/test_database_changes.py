"""A ledger in PostgreSQL that becomes another one: by a standby, an administrator, or a writer."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from busmon.ledger.engines import open_read_only
from busmon.ledger.errors import LedgerError, LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.ledger.postgresql.errors import REMOVED
from busmon.settings.postgresql import Database
from tests.support.brokers import wait_until
from tests.support.brokers.proxy import Proxy
from tests.support.ledger_server import LedgerServer
from tests.support.ledgers import counted, database_at, judged

# A commit waits as long as the gate is locked, whatever the time-outs, and if its client has gone.
SLOW_COMMIT = """
CREATE TABLE busmon.gate ();
CREATE FUNCTION busmon.wait() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET lock_timeout = 0 SET client_connection_check_interval = 0
    AS 'BEGIN PERFORM FROM busmon.gate; RETURN NULL; END';
CREATE CONSTRAINT TRIGGER slow AFTER INSERT OR UPDATE ON busmon.hourly_sums
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION busmon.wait()
"""


def test_a_ledger_that_is_removed_meanwhile_is_not_made_anew(ledger_server: LedgerServer) -> None:
    name = ledger_server.emptied()
    place = database_at(ledger_server.url_of(name))
    with closing(Ledger(place)) as ledger:
        ledger.record(judged(1))
        ledger_server.disconnect()
        ledger_server.sql("DROP SCHEMA busmon CASCADE", name)
        for _ in range(2):
            with pytest.raises(LedgerWriteError, match=f"^{REMOVED}$"):
                ledger.record(judged(2))
    with closing(Ledger(place)) as ledger:
        assert len(ledger.record(judged(2)).new) == 1


def test_a_writer_sees_what_was_written_while_it_waited(ledger_server: LedgerServer) -> None:
    name = ledger_server.emptied()
    level = f"ALTER DATABASE {name} {{}} default_transaction_isolation {{}}"
    ledger_server.sql(level.format("SET", "= serializable"))
    try:
        with (
            closing(Ledger(database_at(ledger_server.url_of(name)))) as ledger,
            ThreadPoolExecutor(1) as thread,
        ):
            ledger.record(judged(1))
            with ledger_server.writing(name) as another:
                recording = thread.submit(ledger.record, judged(2, 3))
                waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                wait_until(lambda: ledger_server.sql(waiting, name), what="the writer to wait")
                another.execute(
                    "INSERT INTO busmon.messages (seq, bus, id, series, received_at)"
                    " SELECT seq + 1, bus, '\\x0132', series, 0 FROM busmon.messages"
                )
            assert [one.id for one in recording.result().new] == ["3"]
    finally:
        ledger_server.sql(level.format("RESET", ""))


def test_a_batch_counts_once_although_the_answer_to_its_commit_is_lost(
    ledger_server: LedgerServer,
) -> None:
    name = ledger_server.emptied()
    ids = [1, *range(10, 15)]
    with (
        Proxy(ledger_server.port) as proxy,
        closing(Ledger(database_at(ledger_server.url_of(name, proxy.port)))) as ledger,
        ThreadPoolExecutor(1) as thread,
    ):
        ledger.record(judged(1))
        ledger_server.sql(SLOW_COMMIT, name)
        with ledger_server.locked("busmon.gate", name):
            recording = thread.submit(ledger.record, judged(*ids))
            committing = (
                "SELECT 1 FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event_type = 'Lock'"
            )
            wait_until(lambda: ledger_server.sql(committing), what="the commit")
            proxy.cut()
            with pytest.raises(LedgerWriteError):
                recording.result()
        ledger_server.sql("DROP TRIGGER slow ON busmon.hourly_sums", name)
        again = ledger.record(judged(*ids))
        assert (len(again.new), again.duplicates) == (0, len(ids))
        assert counted(ledger) == len(ids)


def test_a_promoted_standby_goes_on_without_what_it_lacks(ledger_server: LedgerServer) -> None:
    server, name = ledger_server, ledger_server.emptied()
    with closing(Ledger(database_at(server.url_of(name)))) as ledger, server.standby() as standby:
        ledger.record(judged(1))
        lone = database_at(server.url_of(name, standby.port))
        both = server.url_of(name, standby.port).replace(
            "127.0.0.1", f"127.0.0.1:{server.port},127.0.0.1"
        )
        wait_until(lambda: messages(lone) == 1, what="the message on the standby")
        with pytest.raises(LedgerError, match="is it a standby"):
            Ledger(lone)
        ledger.close()
        with closing(Ledger(database_at(both))) as ledger:
            assert len(ledger.record(judged(1, 2)).new) == 1
            wait_until(lambda: messages(lone) == 2, what="the other one")
            standby.detach()
            assert len(ledger.record(judged("lost", bus="centos")).new) == 1
            with server.away():
                with pytest.raises(LedgerWriteError):
                    ledger.record(judged(3))
                standby.promote()
                assert len(ledger.record(judged(1, 2, 3)).new) == 1
                assert len(ledger.record(judged(4, bus="other") + judged(5, bus="centos")).new) == 2
                counts = {series.bus: count.messages for series, count in ledger.counts().items()}
                assert counts == {"fedora": 3, "other": 1, "centos": 1}


def messages(place: Database) -> int:
    with open_read_only(place) as tables:
        return tables.messages.count()
