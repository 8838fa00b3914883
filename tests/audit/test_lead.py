"""The audit of several busmons with one database: the one that leads closes the windows."""

import threading
from contextlib import closing

import pytest

from busmon.ledger.errors import LedgerWriteError
from busmon.ledger.postgresql import engine
from busmon.ledger.windows import Totals
from busmon.message import Stage
from tests.support.audit import NOW, AuditBench
from tests.support.brokers import wait_until
from tests.support.ledger_server import LedgerServer
from tests.support.ledgers import database_at

END = NOW + 60  # of the window, and of the time to wait for reports


def test_a_window_is_closed_once_if_its_leader_is_lost_in_the_middle(
    ledger_server: LedgerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = engine.BEGIN.replace("lock_timeout = '5s'", "lock_timeout = '30s'")
    assert patient != engine.BEGIN
    monkeypatch.setattr(engine, "BEGIN", patient)  # it shall still wait when it is disconnected
    name = ledger_server.cleared()
    database = database_at(ledger_server.url_of(name))
    first = AuditBench(database)
    first.receive("1", "2")
    first.report("1")
    first.watch("tap", NOW - 60, END)
    failed = threading.Event()

    def close() -> None:
        with pytest.raises(LedgerWriteError):
            first.windows.close_next(END)
        failed.set()

    with closing(first.ledger):
        with ledger_server.locked("busmon.audit_totals", name):
            thread = threading.Thread(target=close)
            thread.start()
            waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
            wait_until(lambda: ledger_server.sql(waiting, name), what="it to be in the middle")
            ledger_server.disconnect()
            thread.join()
        assert failed.is_set()
        second = AuditBench(database)
        with closing(second.ledger):
            assert second.totals()[Stage.BUS] == Totals()
            assert second.windows.close_next(END)
            with pytest.raises(LedgerWriteError, match="another busmon leads now"):
                first.windows.close_next(END)
            second.restart()
            assert second.totals()[Stage.BUS] == Totals(messages=2)
            assert second.totals()[Stage.LISTENER] == Totals(messages=1, missing=1)
            assert len(second.rows(Stage.BUS)) == 1
