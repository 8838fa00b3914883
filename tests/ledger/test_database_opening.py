"""A ledger in PostgreSQL is opened: servers that are too old, or of use later only."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from busmon.ledger.errors import LedgerError, LedgerInUseError, LedgerUnreachable
from busmon.ledger.ledger import Ledger
from busmon.settings.postgresql import Database
from tests.support.brokers import wait_until
from tests.support.brokers.proxy import Proxy
from tests.support.ledger_server import USER, LedgerServer
from tests.support.ledgers import database_at, judged
from tests.support.pretenders import Pretender


def test_a_server_of_an_older_version_is_refused() -> None:
    login, version, ready = b"R\0\0\0\x08\0\0\0\0", b"server_version\x0013.9\0", b"Z\0\0\0\x05I"
    with closing(
        Pretender(b"%bS\0\0\0%c%b%b" % (login, 4 + len(version), version, ready))
    ) as server:
        place = database_at(f"postgresql://{USER}@127.0.0.1:{server.port}/b?sslmode=disable")
        with pytest.raises(LedgerError, match=r": PostgreSQL 13.9 is too old; busmon needs 14$"):
            Ledger(place)


def test_a_server_with_too_many_clients_will_do_later(ledger_server: LedgerServer) -> None:
    place = database_at(ledger_server.url_of(ledger_server.emptied()))
    text = "sorry, too many clients already; each busmon takes up to 5 connections;"
    with ledger_server.full(), pytest.raises(LedgerUnreachable, match=text):
        Ledger(place)
    wait_until(lambda: can_be_opened(place), what="the server to have closed the connections")


def can_be_opened(place: Database) -> bool:
    """Open a ledger, and close it; return False if its server cannot be used now."""
    try:
        Ledger(place).close()
    except LedgerUnreachable:
        return False
    return True


def test_a_server_that_ends_while_a_ledger_is_opened_will_do_later(
    ledger_server: LedgerServer,
) -> None:
    name = ledger_server.emptied()
    place = database_at(ledger_server.url_of(name))
    Ledger(place).close()
    with ThreadPoolExecutor(1) as thread, ledger_server.locked("busmon.series", name):
        opening = thread.submit(Ledger, place)
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
        wait_until(lambda: ledger_server.sql(waiting, name), what="the counters to be read")
        ledger_server.disconnect()
        with pytest.raises(LedgerUnreachable, match="terminating connection"):
            opening.result()


@pytest.mark.parametrize("sslmode", ["disable", "require"])
@pytest.mark.parametrize("fault", [Proxy.end, Proxy.cut])
def test_a_connection_that_ends_while_a_ledger_is_opened_will_do_later(
    fault: Callable[[Proxy], None], sslmode: str, ledger_server: LedgerServer
) -> None:
    name = ledger_server.emptied()
    Ledger(database_at(ledger_server.url_of(name))).close()
    with Proxy(ledger_server.port) as proxy, ThreadPoolExecutor(1) as thread:
        place = database_at(ledger_server.url_of(name, proxy.port, sslmode))
        with ledger_server.locked("busmon.series", name):
            opening = thread.submit(Ledger, place)
            waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
            wait_until(lambda: ledger_server.sql(waiting, name), what="the counters to be read")
            fault(proxy)
            with pytest.raises(LedgerUnreachable):
                opening.result()


def test_settings_of_a_database_change_nothing(ledger_server: LedgerServer) -> None:
    name = ledger_server.emptied()
    place = database_at(ledger_server.url_of(name))
    changes = ("array_nulls {} off", "statement_timeout {} '1s'")
    for change in changes:
        ledger_server.sql(f"ALTER DATABASE {name} SET {change.format('=')}")
    try:
        with closing(Ledger(place)) as ledger:
            ledger.record(judged(1))  # with NULL among its values
            with pytest.raises(LedgerInUseError):  # after two seconds
                Ledger(place)
    finally:
        ledger_server.sql(f"ALTER DATABASE {name} RESET ALL")
