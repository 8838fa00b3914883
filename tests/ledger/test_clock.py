"""A clock of the host that is wrong: what it makes old, what it leaves beyond now."""

from contextlib import closing

import pytest

from busmon.ledger.clock import (
    CATCH_UP,
    HOLD_SECONDS,
    MAX_AHEAD_SECONDS,
    Floor,
    HostClock,
    may_be,
)
from busmon.ledger.ledger import Ledger
from busmon.ledger.silence import DeficitRow, Pause
from tests.support.ledgers import HANDLED, NOW, judged

YEARS = 12 * 365 * 86400.0
STEPS = [
    # seconds of the host's clock, of the steady one, the floor
    ("in step", 60, 60, 60),
    ("ahead by years", YEARS, 60, 60 * CATCH_UP),
    ("not running for an hour", 3660, 60, 60 * CATCH_UP),
    ("set back", -YEARS, 60, 0),
    ("after a restart of the machine", 60, -1000, 0),
]


@pytest.mark.parametrize(
    ("wall", "steady", "floor"), [row[1:] for row in STEPS], ids=[row[0] for row in STEPS]
)
def test_what_is_old_is_so_by_real_time(wall: float, steady: float, floor: float) -> None:
    assert Floor(NOW, 5000.0).after(NOW + wall, 5000.0 + steady).at == NOW + floor
    assert may_be(NOW + wall, NOW) == (wall > 0)


def test_the_first_floor_of_a_ledger_can_be_corrected_for_an_hour() -> None:
    """Else a ledger that was made by a clock that was ahead would wait for years."""
    floor = Floor(NOW + YEARS, 5.0, 5.0).after(NOW + YEARS + 60, 65.0)
    right = floor.after(NOW + 120, 125.0)
    assert right.at == NOW + 120
    later = right.after(NOW + HOLD_SECONDS, 5.0 + HOLD_SECONDS)
    assert later.after(NOW, 6.0 + HOLD_SECONDS).at == NOW + HOLD_SECONDS


def test_a_clock_far_ahead_of_the_ledger_is_right_if_it_stays_so() -> None:
    """As after busmon was not running for long, or with the ledger of a backup."""
    at = 0.0
    clock = HostClock(lambda: NOW + MAX_AHEAD_SECONDS + 3600 * 24 + at, lambda: at)
    for at, known in [(0, False), (HOLD_SECONDS - 1, False), (HOLD_SECONDS, True), (4000, True)]:
        assert (clock.read(NOW + at) is not None) == known
    assert HostClock(lambda: NOW + MAX_AHEAD_SECONDS, lambda: 0.0).read(NOW) is not None


def test_what_a_wrong_clock_left_beyond_now_is_cut() -> None:
    other = HANDLED._replace(topic="other")
    with closing(Ledger(":memory:")) as ledger:
        ledger.record(judged(1, at=NOW) + judged(2, at=NOW + YEARS))
        ledger.record([one._replace(series=other) for one in judged(3, at=NOW - 60)])
        with ledger.write() as tables:
            tables.silence.add_pauses(
                [Pause("fedora", "a.topic", int((NOW + YEARS) // 86400), 1.0)]
            )
            hour = int((NOW + YEARS) // 3600)
            tables.silence.save_deficits(
                [DeficitRow("fedora", "a.topic", hour // 24, 1.0, hour, 1.0)]
            )
            tables.coverage.extend("tap:fedora", NOW + YEARS, NOW - 5)
        assert not ledger.cut(NOW + 1), "all at once"
        counts = ledger.counts()
        assert {counts[HANDLED].last_received, counts[other].last_received} == {NOW + 1, NOW - 60}
        assert counts[HANDLED].messages == 2
        with ledger.read() as tables:
            assert tables.silence.pauses("fedora", "a.topic") == {}
            assert tables.silence.deficits("fedora", "a.topic") == []
            assert tables.coverage.intervals("tap:fedora") == [(NOW - 5, NOW + 1)]
            hours = [one.hour for one in tables.hourly_sums.between(0, 2**40)]
            assert set(hours) == {int(NOW // 3600), int((NOW - 60) // 3600)}
        assert ledger.prune(NOW + 100, 98) is False
        assert ledger.size()[0] == 0, "all are old, none for twelve years"
