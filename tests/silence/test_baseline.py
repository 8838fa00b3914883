"""The pauses of a topic, and how long one of them may be."""

import math
import random
from collections.abc import Mapping, Sequence

import pytest

from busmon.silence.baseline import learn, reconstruct_pauses
from busmon.silence.campaigns import in_campaigns
from busmon.silence.limit import MARGIN_FACTOR, SEEN_FACTOR, learned_limit, pause_limit
from busmon.silence.pace import PRIOR_MESSAGES, Pace, common_pace
from busmon.silence.rates import WEEK_HOURS, Hour
from tests.support.silence import FIRST, flat, history


def test_the_pace_falls_on_a_holiday_and_stands_still_in_a_pause() -> None:
    usual, holiday, pause = [2] * (4 * WEEK_HOURS), [2, 0, 0, 0] * 24, [0] * 100
    at_pace, _ = reconstruct_pauses(history(usual), flat())
    slow, _ = reconstruct_pauses(history(usual + holiday), flat())
    silent, _ = reconstruct_pauses(history(usual + holiday + pause), flat())
    assert at_pace.factor() == 1
    assert 0.25 < slow.factor() < 0.45
    assert silent.factor() == pytest.approx(slow.factor(), rel=0.1)
    assert Pace(100, 50).factor() == 1, "never more than usual"
    assert Pace(0, PRIOR_MESSAGES).factor() == 0.5


def test_a_pause_counts_on_the_day_on_which_it_ends() -> None:
    hours = [2] * 24 + [0] * 48 + [2] * 24
    _, longest = reconstruct_pauses(history(hours), flat())
    first = FIRST // 24
    assert longest.keys() == {first, first + 3}
    assert longest[first + 3] == pytest.approx(49 * 2, abs=2)


def test_a_bus_is_as_slow_as_half_of_its_topics() -> None:
    assert common_pace([0.3, 0.4, 0.5, 1, 1]) == 0.5
    assert common_pace([0.3, 0.4]) == 1, "too few to tell"


def test_the_limit_is_exceeded_about_once_in_its_time_by_chance() -> None:
    """Longest of a hundred exponential pauses a day: the limit for four years is known."""
    rng = random.Random(1)
    days = [max(rng.expovariate(1) for _ in range(100)) for _ in range(365)]
    assert pause_limit(days) == pytest.approx(math.log(100 * 4 * 365), rel=0.15)


def test_bursts_raise_the_limit_as_much_as_they_are_large() -> None:
    rng = random.Random(1)
    days = [max(rng.expovariate(1 / 12) for _ in range(100)) for _ in range(365)]
    assert pause_limit(days) == pytest.approx(12 * math.log(100 * 4 * 365), rel=0.15)


def test_outages_of_a_few_days_do_not_raise_the_limit() -> None:
    rng = random.Random(2)
    days = [max(rng.expovariate(1) for _ in range(100)) for _ in range(365)]
    assert pause_limit([*days, 1e6, 1e6, 1e6]) == pytest.approx(pause_limit(days), rel=0.05)


def test_the_limit_is_above_what_was_there_before() -> None:
    days = [10.0] * 90 + [11.0] * 10
    limit = pause_limit(days)
    assert limit
    assert limit >= MARGIN_FACTOR * 11
    assert pause_limit([10.0] * 20) is None, "too few days"


def test_of_a_growing_topic_the_last_weeks_count_by_themselves() -> None:
    small, large = dict.fromkeys(range(300), 10.0), dict.fromkeys(range(300, 391), 30.0)
    assert learned_limit(small, {}) == pytest.approx(MARGIN_FACTOR * 10)
    assert learned_limit(small | large, {}) == pytest.approx(
        max(MARGIN_FACTOR * 30, pause_limit([*small.values(), *large.values()]) or 0)
    )


def test_two_weeks_of_exact_pauses_are_used_with_a_margin() -> None:
    coarse, exact = dict.fromkeys(range(60), 600.0), dict.fromkeys(range(47, 60), 20.0)
    assert learned_limit(exact, coarse) == MARGIN_FACTOR * 600
    exact[46] = 20.0
    assert learned_limit(exact, coarse) == pytest.approx(SEEN_FACTOR * MARGIN_FACTOR * 20)


WEEKLY = [50 if hour % 168 == 100 else 0 for hour in range(40 * WEEK_HOURS)]
CAMPAIGNS = [3 if hour // 24 % 14 < 5 else 0 for hour in range(13 * WEEK_HOURS)]
BURSTS = [3 if hour % (24 * 6) == 9 else 0 for hour in range(26 * WEEK_HOURS)]
SHORT = [3 if hour // 24 % 14 < 5 else 0 for hour in range(4 * WEEK_HOURS)]


@pytest.mark.parametrize(
    ("hours", "campaigns"), [(WEEKLY, False), (CAMPAIGNS, True), (BURSTS, False), (SHORT, False)]
)
def test_what_comes_on_some_days_and_then_not_for_many_is_in_campaigns(
    hours: list[int], campaigns: bool
) -> None:
    assert in_campaigns(history(hours)) == campaigns


def test_a_rare_topic_learns_from_all_its_past_up_to_its_last_message() -> None:
    baseline = learn(history([*WEEKLY, *[0] * 60 * WEEK_HOURS]), {})
    assert baseline
    assert 1 < baseline.limit / baseline.rates.sums[-1] < 2, "a batch takes an hour at most"
    assert baseline.longest == 167 * 3600
    assert learn(history(WEEKLY[: 20 * WEEK_HOURS]), {}) is None, "too few days"


def limit_of(hours: Sequence[Hour], longest: Mapping[int, float]) -> float:
    baseline = learn(hours, longest)
    assert baseline
    assert baseline.limit
    return baseline.limit


def test_a_topic_that_comes_on_the_hour_is_not_silent_in_between() -> None:
    """Hourly counts can't tell such a topic from one that comes all the time."""
    hours = history([100] * (8 * WEEK_HOURS))
    assert limit_of(hours, {}) > 100
    assert limit_of(hours, dict.fromkeys(range(40), 99.0)) > 99


def test_pauses_that_were_seen_are_trusted_more_than_hourly_counts() -> None:
    hours = history([600] * (8 * WEEK_HOURS))
    fine = limit_of(hours, dict.fromkeys(range(28), 20.0))
    assert limit_of(hours, {}) > 600
    assert fine == pytest.approx(600 / 4, rel=0.05), "a quarter of an hour"
