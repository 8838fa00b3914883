"""Blind times with a clock of the host that is wrong."""

from pathlib import Path

from busmon.ledger.ledger import Ledger
from busmon.silence.blind_time import BlindTime
from busmon.silence.reception import Reception, WatchedBus
from busmon.sources.base import ConnectionState
from tests.support.ledgers import NOW

UP, DOWN = True, False
YEARS = 12 * 365 * 86400.0


def test_a_clock_that_jumps_ahead_and_back_leaves_no_trace() -> None:
    """While it is ahead, the time that it left out is not silence, and not blind either."""
    reception = Reception(NOW, steady=0.0)
    for wall, steady in [(1, 1), (2, 2), (YEARS, 3), (YEARS + 1, 4), (5, 5), (6, 6)]:
        reception = reception.after(NOW + wall, WatchedBus(UP, 1), steady)
        assert reception.blind_seconds(NOW + wall, steady) == 1
        if wall == YEARS:
            assert reception.blind_between(NOW + 2, NOW + YEARS) == [(NOW + 2, NOW + YEARS)]
    assert reception.blind_times == ((NOW, NOW + 1), (NOW + 2, NOW + 5))
    lost = reception.after(NOW + 7, WatchedBus(DOWN, 1), 7.0)
    assert lost.blind_seconds(NOW + YEARS, 9.0) == 4, "3 s since the last tick"


def test_a_start_with_a_clock_that_is_ahead_is_forgotten_later(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    ledger, link = Ledger(path), ConnectionState()
    link.up()
    blind = BlindTime(ledger, {"fedora": link}, NOW)
    ledger.set_floor(NOW)
    for wall, steady in [(2, 2), (3, 3)]:
        blind.tick(NOW + wall, steady)
    blind.tick(NOW - YEARS, 4)
    ledger.close()
    ledger = Ledger(path)
    blind = BlindTime(ledger, {"fedora": link}, NOW + YEARS)
    blind.tick(NOW + YEARS, 1)
    blind.tick(NOW + 9, 2)
    blind.tick(NOW + 10, 3)
    assert blind.seconds(NOW + 10, 3)["fedora"] < 10
    assert blind.reception("fedora").blind_times == ((NOW, NOW + 2), (NOW + 2, NOW + 9))
    with ledger.write() as tables:
        assert tables.blind_times.load("fedora", NOW, oldest=0).intervals[-1][1] == NOW + 9
    ledger.close()
