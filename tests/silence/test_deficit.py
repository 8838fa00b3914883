"""Whether too few messages of a topic come."""

import pytest

from busmon.silence.deficit import CAP, SHARE, Deficit, low_limit, replay
from busmon.silence.rates import Hour
from tests.support.silence import FIRST, flat

RATE = 100.0
LIMIT = 12 * SHARE * RATE
CASES = [
    # the part of the usual messages that comes, the pace of the bus, after how many hours it is low
    ("nothing", 0.0, 1.0, 13),
    ("a fifth", 0.2, 1.0, 25),
    ("a fifth, on a slow bus", 0.2, 0.6, 13 * 12),  # 4 of 100 lack in an hour
    ("a fifth, as on all of the bus", 0.2, 0.2, None),
    ("half", 0.5, 1.0, None),
]


@pytest.mark.parametrize(
    ("part", "pace", "found"), [row[1:] for row in CASES], ids=[row[0] for row in CASES]
)
def test_a_lack_adds_up_until_it_is_found(part: float, pace: float, found: int | None) -> None:
    deficit, low = Deficit(FIRST - 1), []
    for number in range(200):
        hour = Hour(FIRST + number, int(RATE * part), 1.0)
        deficit = deficit.after([hour], flat(RATE), pace, LIMIT)
        low.append(deficit.messages > LIMIT)
    first = low.index(True) + 1 if True in low else None
    assert first == pytest.approx(found, abs=40) if found == 156 else first == found
    assert deficit.messages <= CAP * LIMIT, "so it ends soon"


def test_an_alarm_counts_as_the_limit_on_its_first_day_and_then_not() -> None:
    hours = [Hour(FIRST + number, 0 if number >= 20 else 100, 1.0) for number in range(72)]
    deficit = Deficit(FIRST - 1).after(hours, flat(RATE), 1.0, LIMIT)
    day = FIRST // 24
    assert deficit.highest == {day: 4 * SHARE * RATE, day + 1: LIMIT, day + 2: None}
    blind = [hour._replace(watched=0.0) for hour in hours]
    assert Deficit(FIRST - 1).after(blind, flat(RATE), 1.0, LIMIT).messages == 0


def test_the_limit_is_above_what_lacked_before() -> None:
    hours = [Hour(FIRST + n, 0 if n % 168 < 30 else 100, 1.0) for n in range(8 * 168)]
    highest = replay(hours, flat(RATE)).highest or {}
    assert (low_limit(highest, flat(RATE)) or 0) > 1.2 * 30 * SHARE * RATE
    assert low_limit(dict.fromkeys(range(60), 0.0), flat(RATE)) == LIMIT
    assert low_limit(dict.fromkeys(range(10), 0.0), flat(RATE)) is None


@pytest.mark.parametrize("week", [1, 6])
def test_an_outage_in_a_history_makes_its_limit_at_most_a_bit_higher(week: int) -> None:
    """It is limited by what was known before it, or is forgotten."""
    outage = range(week * 168 + 30, week * 168 + 110)
    hours = [Hour(FIRST + n, 0 if n in outage else 100, 1.0) for n in range(9 * 168)]
    highest = replay(hours, flat(RATE)).highest or {}
    assert (low_limit(highest, flat(RATE)) or 0) < 2 * LIMIT
