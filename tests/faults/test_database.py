"""The ledger's database fails under `busmon run`: what is not on record is not acknowledged.

See `stopping`; tests/ledger/test_database_faults.py has more of what can fail.
"""

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from busmon.ledger.ledger import Ledger
from tests.faults.stopping import Bus, wait_until_counted, wait_until_reported
from tests.support.brokers import accepts, free_port, wait_until
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.busmon_process import Busmon
from tests.support.command import busmon as command
from tests.support.ledger_server import PASSWORD, LedgerServer
from tests.support.ledgers import database_at

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
    assert busmon.logged("WARNING ledger: switched off in the server: fsync and full_page_writes;")


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
        waits = f": {refused}; busmon goes on as soon as it can be reached"
        wait_until(lambda: busmon.logged(waits), what=waits)
        assert_says_what_it_waits_for(busmon, refused)
    wait_until(busmon.has_ledger, what="busmon to go on")
    wait_until_counted(busmon, bus, 150)


def assert_says_what_it_waits_for(busmon: Busmon, reason: str) -> None:
    """It lives and is not ready, its metrics wake somebody up, and its pages say why."""
    assert busmon.ask("/live") == (200, ["live"])
    status, (problem,) = busmon.ask("/ready")
    since = r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
    assert status == 503
    assert re.fullmatch(rf"ledger: postgresql://\S+: {re.escape(reason)}, {since}", problem)
    for page in ("/", "/v1/status", "/v1/reports"):
        assert busmon.ask(page) == (503, [f"busmon cannot answer yet. {problem}"])
    status, metrics = busmon.ask("/metrics")
    assert status == 200
    assert "busmon_ledger_up 0.0" in metrics
    assert any(line.startswith("busmon_build_info{") for line in metrics)


def test_a_start_that_waits_for_a_database_ends_when_it_is_asked_to(
    bus: Bus, ledger_server: LedgerServer, tmp_path: Path
) -> None:
    url = ledger_server.url_of("any", free_port())
    busmon = Busmon(tmp_path, {"centos": bus.settings}, url=url)
    busmon.launch()
    waits = "Connection refused; busmon goes on as soon as it can be reached"
    wait_until(lambda: busmon.logged(waits), what=waits)
    assert busmon.terminate(10) == 0  # 5 s, on a machine that is not busy


def test_a_start_waits_until_the_ledger_can_be_written(
    bus: Bus, ledger_server: LedgerServer, tmp_path: Path
) -> None:
    name = ledger_server.emptied()
    url = ledger_server.url_of(name)
    Ledger(database_at(url)).close()
    busmon = Busmon(tmp_path, {"centos": bus.settings}, url=url)
    text = "cannot be written: canceling statement due to lock timeout"
    with ExitStack() as stack:
        with ledger_server.locked("busmon.buses IN SHARE MODE", name):
            busmon.launch()
            stack.push(busmon)  # which kills it
            wait_until(lambda: accepts(busmon.port), what="it to listen")
            seen = set()

            def failed() -> bool:
                seen.add(busmon.ask("/ready")[1][0])
                return busmon.output().count(text) >= 3

            wait_until(failed, what="three attempts")
            assert text in busmon.ask("/ready")[1][0]
            assert "standby: another busmon leads" not in seen
        busmon.wait_until_ready()


def test_a_start_at_a_server_that_swallows_all_ends_when_it_is_asked_to(
    bus: Bus, ledger_server: LedgerServer, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = ledger_server.url_of("any", silent.getsockname()[1])
        busmon = Busmon(tmp_path, {"centos": bus.settings}, url=url)
        busmon.launch()
        with silent.accept()[0]:  # so it waits for the server's first word
            assert busmon.terminate(10) == 0  # 5 s, on a machine that is not busy
            assert busmon.logged("left behind: ledger")


def test_a_database_that_hangs_is_reported_and_everything_is_counted_later(
    busmon: Busmon, bus: Bus, ledger_server: LedgerServer
) -> None:
    with ledger_server.frozen(ledger_server.backends()):
        bus.publish(50)
        wait_until(lambda: len(busmon.troubles()) == 2, 60, "bus and ledger in /ready")
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
