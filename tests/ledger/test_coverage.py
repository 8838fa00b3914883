"""The intervals in which an observer saw."""

from contextlib import closing

import pytest

from busmon.ledger.coverage import MAX_GAP_SECONDS
from busmon.ledger.ledger import Ledger

TAP = "tap:fedora"
T = 1_790_000_000.0


def covered_by(signs: list[tuple[float, ...]], start: float, end: float, of: str = TAP) -> bool:
    """Signs of life: when, and since when all is known; all times in seconds after T."""
    with closing(Ledger(":memory:")) as ledger, ledger.write() as tables:
        for sign in signs:
            tables.coverage.extend(TAP, *(T + seconds for seconds in sign))
        return tables.coverage.is_covered(of, T + start, T + end)


EVERY_10_S: list[tuple[float, ...]] = [(float(second),) for second in range(0, 301, 10)]


@pytest.mark.parametrize(
    ("signs", "start", "end", "covered"),
    [
        ([], 0, 0, False),
        ([(0,)], 0, 0, True),
        ([(0,)], 0, 1, False),
        (EVERY_10_S, 0, 300, True),
        (EVERY_10_S, -1, 300, False),
        (EVERY_10_S, 0, 301, False),
        ([(0,), (MAX_GAP_SECONDS - 1,)], 0, MAX_GAP_SECONDS - 1, True),
        ([(0,), (MAX_GAP_SECONDS,)], 0, MAX_GAP_SECONDS, False),
        ([(0,), (60,), (80,)], 60, 80, True),
        ([(0,), (60,), (80,)], 0, 20, False),
        ([(0,), (600, 1)], 0, 600, True),  # watched all the time, reported late
        ([(0,), (600, 500)], 0, 600, False),
        ([(0,), (600, 500)], 500, 600, True),
        ([(0,), (10,), (5,)], 0, 10, True),  # a clock set back
        ([(0,), (60,), (60,)], 60, 60, True),
        ([(100, -500)], -500, 100, True),
    ],
)
def test_an_interval_without_a_gap_is_covered(
    signs: list[tuple[float, ...]], start: float, end: float, covered: bool
) -> None:
    assert covered_by(signs, start, end) is covered


def test_observers_do_not_cover_each_other() -> None:
    assert not covered_by(EVERY_10_S, 0, 10, of="tap:centos")
