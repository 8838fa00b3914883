"""The ledger's database fails under `busmon run`: what is not on record is not acknowledged.

See `stopping`; tests/ledger/test_database_faults.py has more of what can fail.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.stopping import Bus, wait_until_counted, wait_until_reported
from tests.support.brokers import accepts, free_port, wait_until
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.busmon_process import Busmon
from tests.support.command import busmon as command
from tests.support.ledger_server import PASSWORD, LedgerServer

PAGES = ("/ready", "/", "/topics", "/metrics", "/v1/status")


@pytest.fixture
def bus(mosquitto: Mosquitto) -> Bus:
    return Bus(mosquitto)


@pytest.fixture
def busmon(bus: Bus, ledger_server: LedgerServer, tmp_path: Path) -> Iterator[Busmon]:
    """A busmon that has counted 100 messages."""
    url = ledger_server.url_of(ledger_server.emptied())
    busmon = Busmon(tmp_path, {"centos": bus.settings}, url=url)
    busmon.configure('[log]\nlevel = "debug"')
    with busmon:
        busmon.wait_until_ready()
        bus.publish(100)
        wait_until_counted(busmon, bus, 100)
        yield busmon
    assert_hidden(busmon.log.read_text())


def assert_hidden(text: str) -> None:
    """No part of the password is in a text."""
    assert re.findall("p4ss|(?<!pass)word", text) == []


def test_a_database_that_is_away_stops_acknowledging_until_it_is_back(
    busmon: Busmon, bus: Bus, ledger_server: LedgerServer
) -> None:
    refused = f"127.0.0.1:{ledger_server.port}: Connection refused"
    with ledger_server.away():
        bus.publish(50)
        wait_until_reported(busmon, refused)
        assert busmon.counts() == bus.counted(100)
        assert_hidden("".join(line for page in PAGES for line in busmon.ask(page)[1]))
        busmon.kill()  # nothing was acknowledged, so nothing is lost
        busmon.launch()
        waits = f": {refused}; busmon starts as soon as it can be reached"
        wait_until(lambda: busmon.logged(waits), what=waits)
    wait_until(lambda: accepts(busmon.port), what="busmon to listen")
    wait_until_counted(busmon, bus, 150)


def test_a_start_that_waits_for_a_database_ends_when_it_is_asked_to(
    bus: Bus, ledger_server: LedgerServer, tmp_path: Path
) -> None:
    url = ledger_server.url_of("any", free_port())
    busmon = Busmon(tmp_path, {"centos": bus.settings}, url=url)
    busmon.launch()
    waits = "Connection refused; busmon starts as soon as it can be reached"
    wait_until(lambda: busmon.logged(waits), what=waits)
    assert busmon.terminate(5) == 0


def test_a_database_that_hangs_is_reported_and_everything_is_counted_later(
    busmon: Busmon, bus: Bus, ledger_server: LedgerServer
) -> None:
    with ledger_server.frozen(ledger_server.backends()):
        bus.publish(50)
        wait_until(lambda: len(busmon.ask("/ready")[1]) == 2, 60, "bus and ledger in /ready")
        bus_problem, problem = busmon.ask("/ready")[1]
        assert bus_problem.startswith("centos: hung: ")
        text = r"ledger: a write has not finished for \d+ s: does the disk, or the database, hang\?"
        assert re.fullmatch(text, problem)
        assert "busmon_ledger_up 0.0" in busmon.ask("/metrics?name[]=busmon_ledger_up")[1]
    wait_until_counted(busmon, bus, 150)


def test_no_password_shows_whatever_is_wrong_with_it(
    bus: Bus, ledger_server: LedgerServer, tmp_path: Path
) -> None:
    url = ledger_server.url_of(ledger_server.emptied())
    for settings, text in (
        ({"url": url.replace("busmon:", "nobody:")}, "password authentication failed"),
        ({"url": url.replace("%2F", "/")}, "ledger.url: should be postgresql://USER:PASSWORD@"),
        ({"url": url.replace("%2F", "?")}, "ledger.url: should be postgresql://USER:PASSWORD@"),
        ({"url": url, "password": PASSWORD}, "ledger.password: should not be given together"),
    ):
        busmon = Busmon(tmp_path, {"centos": bus.settings}, **settings)
        busmon.configure('[log]\nlevel = "debug"')
        assert busmon.run() in {1, 2}
        assert busmon.logged(text)
        assert_hidden(busmon.log.read_text())
    busmon = Busmon(tmp_path, {"centos": bus.settings}, url=url)
    shown = command("check-config", "-c", busmon.configuration).stdout
    assert "user busmon, password" in shown
    assert_hidden(shown)
