"""The bounds of the simulated year: `make silence-report` prints the table behind them."""

import pytest

from tests.silence.simulation.report import (
    BUSMON,
    DETECTORS,
    NAGIOS,
    Results,
    overall,
    simulate,
    table,
)
from tests.silence.simulation.traffic import TOPICS, Topic

SEED = 1


@pytest.fixture(scope="module")
def results() -> Results:
    return simulate([SEED])


def test_busmon_raises_at_most_one_false_alarm_in_a_topic_year(results: Results) -> None:
    assert overall(results, BUSMON) <= 1


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_an_outage_is_found_in_a_quarter_of_the_time_that_nagios_takes(
    results: Results, topic: Topic
) -> None:
    """And nine of ten in a quarter of its threshold, on the topics for which it has one."""
    assert results[topic, BUSMON].time(0.5) <= results[topic, NAGIOS].time(0.5) / 4
    if topic.in_nagios:
        assert results[topic, BUSMON].time(0.9) <= topic.nagios / 4


def test_the_report_has_a_row_a_topic_and_a_column_a_detector(results: Results) -> None:
    header, _, *rows = table(results).splitlines()[2:]
    assert header.split(" | ")[1:] == [*DETECTORS[:-1], f"{DETECTORS[-1]} |"]
    assert len(rows) == len(TOPICS) + 1
