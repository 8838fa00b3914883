"""The bounds of the simulated year: `make silence-report` prints the tables behind them.

For speed, these are fewer topics than those of the report, and what is usual is learned less often.
"""

import numpy as np
import pytest

from busmon.rules.packit import TABLE
from busmon.silence.expected import WITHIN_SECONDS
from tests.silence.simulation import first_weeks
from tests.silence.simulation.first_weeks import ARCHIVE, EARLY, NOTHING
from tests.silence.simulation.kinds import STEADY
from tests.silence.simulation.report import (
    BUSMON,
    DETECTORS,
    NAGIOS,
    PAGES,
    Results,
    kinds_table,
    overall,
    simulate,
    simulate_kinds,
    table,
)
from tests.silence.simulation.traffic import DAY, TOPICS, Topic, arrivals

SEED, EVERY = 1, 28
SOME_TOPICS = (TOPICS[1], TOPICS[4], TOPICS[5], TOPICS[9], TOPICS[11])
GIT_RECEIVE = TOPICS[9]
SOME_KINDS = ("Cox, 24 a day", "cron, every day", "weekly batch of 50", "Monday and Thursday")
CAMPAIGNS = "campaigns, 5 days on, 9 off"


def test_the_rules_expect_only_topics_that_come_every_day() -> None:
    """In ten years, none of them pauses for as long as busmon waits for it on the first day.

    Copr's and Koji's topics come some ten thousand times a day, and are left out to save time.
    """
    busy = {topic for topic, entry in TABLE.items() if entry.busy}
    longest = {topic.name: 0.0 for topic in TOPICS if topic.a_day < 2000}
    for topic in (topic for topic in TOPICS if topic.name in longest):
        for seed in range(21, 31):
            came = np.flatnonzero(arrivals(topic, np.random.default_rng(seed)))
            longest[topic.name] = max(longest[topic.name], 60.0 * np.diff(came).max())
    usual = {name for name, pause in longest.items() if pause < WITHIN_SECONDS}
    assert usual == busy & longest.keys()


@pytest.fixture(scope="module")
def results() -> Results:
    return simulate([SEED], SOME_TOPICS, EVERY)


def test_false_alarms_are_rare_and_those_that_page_are_rarer(results: Results) -> None:
    assert overall(results, BUSMON) <= 1
    assert overall(results, PAGES) <= 0.4


@pytest.mark.parametrize("topic", SOME_TOPICS, ids=lambda topic: topic.name)
def test_an_outage_is_found_in_a_quarter_of_the_time_that_nagios_takes(
    results: Results, topic: Topic
) -> None:
    """And nine of ten in a quarter of its threshold."""
    assert results[topic, BUSMON].time(0.5) <= results[topic, NAGIOS].time(0.5) / 4
    assert results[topic, BUSMON].time(0.9) <= topic.nagios / 4


def test_the_report_has_a_row_a_topic_and_a_column_a_detector(results: Results) -> None:
    header, _, *rows = table(results).splitlines()[2:]
    assert all(name in header for name in DETECTORS)
    assert len(rows) == len(SOME_TOPICS) + 1


def test_with_an_archive_an_outage_of_the_first_weeks_is_found_in_hours() -> None:
    """Without one, only the threshold of a week holds."""
    variants = (NOTHING, ARCHIVE)
    first = first_weeks.simulate([SEED], (GIT_RECEIVE,), first_weeks.BEGINS[:1], variants)
    without, with_archive = (first["dist-git", variant] for variant in variants)
    assert without.times[EARLY].time(0.5) > 6 * DAY
    assert with_archive.times[EARLY].time(0.9) <= 1.5 * DAY
    assert with_archive.warnings.false_alarms <= 1
    assert len(first_weeks.table(first).splitlines()) == 4 + len(variants)


def test_rare_and_regular_topics_are_watched_and_campaigns_are_not() -> None:
    kinds = simulate_kinds({name: STEADY[name] for name in (*SOME_KINDS, CAMPAIGNS)}, [SEED], EVERY)
    for name in SOME_KINDS:
        assert kinds[name][BUSMON].false_alarms <= 1
        assert kinds[name][BUSMON].time(0.9) <= 15 * 1440, "two weeks"
    assert kinds[CAMPAIGNS][BUSMON].times == [], "nothing is usual"
    assert kinds[CAMPAIGNS][BUSMON].false_alarms == 0
    assert CAMPAIGNS in kinds_table(kinds)
    assert "| all | **no baseline** |" in kinds_table({CAMPAIGNS: kinds[CAMPAIGNS]})
