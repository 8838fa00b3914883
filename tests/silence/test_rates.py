"""How many messages of a topic are expected, by the hour of the week."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busmon.silence.baseline import learn
from busmon.silence.rates import WEEK_HOURS, Hour, Rates, is_weekend, learn_rates
from tests.support.silence import DAY, FIRST, MONDAY, history


def office_hours(week: int) -> list[int]:
    """Ten an hour from 8 to 16 on working days, one an hour else by day, none at night."""
    del week
    hours = []
    for day in range(7):
        for hour in range(24):
            busy = 10 if day < 5 else 1
            hours.append(busy if 8 <= hour < 16 else 0)
    return hours


def test_days_of_unix_time_are_distinguished() -> None:
    monday = MONDAY // DAY
    assert [is_weekend(monday + day) for day in range(7)] == [False] * 5 + [True] * 2


def test_rates_follow_the_day_and_the_week() -> None:
    rates = learn_rates(history([n for week in range(8) for n in office_hours(week)]))
    assert rates
    tuesday, saturday = FIRST + 24, FIRST + 5 * 24
    assert rates.hourly[(tuesday + 12) % WEEK_HOURS] == pytest.approx(10, rel=0.05)
    assert rates.hourly[(saturday + 12) % WEEK_HOURS] == pytest.approx(1, rel=0.1)
    assert 0 < rates.hourly[(tuesday + 2) % WEEK_HOURS] < 0.2
    assert rates.mean() * WEEK_HOURS == pytest.approx(sum(office_hours(0)), rel=0.1)


@pytest.mark.parametrize(
    ("change", "lowest", "highest"),
    [
        ("nothing", 9.5, 10.5),
        ("mass rebuild", 9.5, 12.5),  # thirty times as much for four days
        ("outage", 8.0, 10.5),  # nothing for three days
        ("growth", 10.2, 13.0),  # from 7 to 12: nearer to the end than the mean is
        ("blind", 9.5, 10.5),  # two days not watched
    ],
)
def test_a_rate_is_not_spoilt_by(change: str, lowest: float, highest: float) -> None:
    hours = history([10] * (12 * WEEK_HOURS))
    days = range(FIRST + 60 * 24, FIRST + 64 * 24)
    if change == "mass rebuild":
        hours = [h._replace(messages=300) if h.hour in days else h for h in hours]
    elif change == "outage":
        hours = [h._replace(messages=0) if h.hour in days[24:] else h for h in hours]
    elif change == "blind":
        hours = [Hour(h.hour, 0, 0.0) if h.hour in days[:48] else h for h in hours]
    elif change == "growth":
        hours = [h._replace(messages=7 + 6 * i // len(hours)) for i, h in enumerate(hours)]
    rates = learn_rates(hours)
    assert rates
    assert lowest < rates.mean() < highest


def test_a_half_blind_hour_counts_for_half() -> None:
    rates = learn_rates(history([5] * (10 * WEEK_HOURS), watched=0.5))
    assert rates
    assert rates.mean() == pytest.approx(10, rel=0.02)


@pytest.mark.parametrize(
    ("hours", "why"),
    [
        ([], "nothing"),
        (history([9] * (24 * 24)), "too few days"),
        (history([9] * (24 * 24)) + history([0] * 300, watched=0.0), "blind"),
        (history([1] * 29 + [0] * (10 * WEEK_HOURS)), "too few messages"),
    ],
)
def test_too_little_history_gives_no_rates(hours: list[Hour], why: str) -> None:
    assert learn_rates(hours) is None, why
    assert learn(hours, {}) is None


@given(
    st.lists(st.floats(0.01, 1000), min_size=WEEK_HOURS, max_size=WEEK_HOURS),
    st.floats(0, 4e9),
    st.floats(0, 1e7),
    st.floats(0, 1e7),
)
def test_what_is_expected_adds_up(
    hourly: list[float], start: float, first: float, second: float
) -> None:
    rates = Rates.of(hourly)
    parts = rates.expected(start, start + first) + rates.expected(
        start + first, start + first + second
    )
    whole = rates.expected(start, start + first + second)
    assert math.isclose(parts, whole, rel_tol=1e-6, abs_tol=0.1)
    assert whole >= -1e-3
    slowest, fastest = (of(hourly) * (first + second) / 3600 for of in (min, max))
    assert slowest - 0.1 <= whole * (1 + 1e-6)
    assert whole <= fastest * (1 + 1e-6) + 0.1


def test_a_week_expects_the_messages_of_a_week() -> None:
    rates = Rates.of(range(WEEK_HOURS))
    assert rates.expected(MONDAY + 5000, MONDAY + 5000 + WEEK_HOURS * 3600) == sum(
        range(WEEK_HOURS)
    )
    assert rates.expected(2.5 * 3600, 4 * 3600) == 0.5 * 2 + 3
