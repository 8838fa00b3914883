"""Between which numbers the messages of an hour and of a day usually are."""

import pytest

from busmon.silence.rates import Hour
from busmon.silence.spread import Spread, spread
from tests.support.silence import DAY, MONDAY, Bench, flat, history

HOURS = 10 * 7 * 24


def test_the_usual_hour_and_day_leave_out_a_twentieth_on_each_side() -> None:
    hourly = [100 + number % 20 for number in range(HOURS)]  # 100 to 119, each as often
    usual = spread(history(hourly), flat(100.0))
    assert usual.hour == pytest.approx((1.01, 1.18))
    low, high = usual.day
    assert 1.05 < low <= high < 1.15, "a day is steadier than an hour"


@pytest.mark.parametrize(
    "odd", [Hour(0, 0, 0.0), Hour(0, 5, 0.5)], ids=["not watched", "watched by half"]
)
def test_what_was_not_watched_does_not_count_as_usual(odd: Hour) -> None:
    hours = history([100] * HOURS)
    blind = [
        odd._replace(hour=hour.hour) if index % 5 == 0 else hour for index, hour in enumerate(hours)
    ]
    assert spread(blind, flat(100.0)).hour == (1.0, 1.0)
    none = [odd._replace(hour=hour.hour) for hour in hours]
    assert spread(none, flat(100.0)) == Spread((1.0, 1.0), (1.0, 1.0))


def test_the_watcher_knows_what_is_usual_or_since_when_it_learns() -> None:
    bench = Bench(":memory:")
    bench.past("old.topic", 6, MONDAY - 60)
    bench.past("new.topic", 1, MONDAY - 60)
    bench.watch.learn(MONDAY)
    states = {topic.name: state for topic, state in bench.watch.states(MONDAY).items()}
    learned = {topic.name: bench.watch.learned(topic) for topic in bench.watch.states(MONDAY)}
    assert learned["new.topic"] is None
    assert states["new.topic"].begun == pytest.approx(MONDAY - 7 * DAY, abs=3600)
    assert states["old.topic"].begun is None
    assert learned["old.topic"] is not None
    assert learned["old.topic"].usual(MONDAY, MONDAY + 3600) == pytest.approx((2, 2), rel=0.1)
    assert learned["old.topic"].usual(MONDAY, MONDAY + DAY) == pytest.approx((48, 48), rel=0.1)
    unseen = [(0, MONDAY + DAY / 4), (MONDAY + DAY / 2, MONDAY + 5 * DAY)]
    assert learned["old.topic"].usual(MONDAY, MONDAY + DAY, unseen) == pytest.approx(
        (12, 12), rel=0.1
    )
