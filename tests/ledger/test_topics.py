"""What people ask of a topic: its counts, its newest messages, and how long they took."""

import re

import pytest

from busmon.ledger import topics
from busmon.ledger.archive import Span
from busmon.ledger.batch import Observation, Series
from busmon.ledger.ledger import Ledger
from busmon.ledger.tap_reports import TapReport
from busmon.ledger.tasks import Origin
from busmon.ledger.topics import ReachedSum, RecentSum, TimeSum
from busmon.ledger.windows import Place, Totals, WindowRow
from busmon.message import Stage
from tests.ledger.sql import foreign

START = 1_790_000_000 // 3600 * 3600.0  # Unix time
HOUR = int(START // 3600)
HANDLED = Series("fedora", "a.topic", "handled", "")
IGNORED = Series("fedora", "a.topic", "ignored", "releng")


def record(ledger: Ledger, series: Series, *after: float) -> None:
    """Let messages come so many seconds after START; each was sent a second before."""
    ledger.record(
        [
            Observation(series, f"{series.outcome}-{seconds}", START + seconds, START + seconds - 1)
            for seconds in after
        ]
    )


def test_counts_of_a_topic_are_summed_by_time_and_reason(ledger: Ledger) -> None:
    record(ledger, HANDLED, 0, 1, 3600, 25 * 3600)
    record(ledger, IGNORED, 3601)
    record(ledger, HANDLED._replace(topic="b.topic"), 2)
    record(ledger, HANDLED._replace(bus="centos"), 3)
    with ledger.read() as tables:
        hours = tables.topics.by_time("fedora", "a.topic", HOUR, HOUR + 25)
        days = tables.topics.by_time("fedora", "a.topic", HOUR, HOUR + 26, 24)
        recent = sorted(tables.topics.recent(HOUR, HOUR + 1))
        handled = tables.topics.handled_by_hour(HOUR, HOUR + 2)
        unknown = tables.topics.by_time("fedora", "no.topic", HOUR, HOUR + 2)
    assert sorted(hours) == [
        TimeSum(HOUR, "handled", "", 2),
        TimeSum(HOUR + 1, "handled", "", 1),
        TimeSum(HOUR + 1, "ignored", "releng", 1),
    ]
    assert sum(one.messages for one in days) == 5
    assert {one.time for one in days} <= {HOUR // 24, HOUR // 24 + 1, HOUR // 24 + 2}
    assert recent == [
        RecentSum("centos", "a.topic", "handled", 1),
        RecentSum("fedora", "a.topic", "handled", 2),
        RecentSum("fedora", "b.topic", "handled", 1),
    ]
    assert handled == {("centos", HOUR): 1, ("fedora", HOUR): 3, ("fedora", HOUR + 1): 1}
    assert unknown == []


def test_what_the_archive_has_is_summed_by_time_too(ledger: Ledger) -> None:
    with ledger.write() as tables:
        hours = Span(HOUR, HOUR + 30)
        tables.archive_sums.add_before("fedora", "a.topic", hours, {HOUR: 2, HOUR + 29: 3})
        tables.archive_sums.add_before("fedora", "b.topic", hours, {HOUR: 7})
    with ledger.read() as tables:
        assert tables.topics.archived(("fedora", "a.topic"), HOUR, HOUR + 29) == {HOUR: 2}
        days = tables.topics.archived(("fedora", "a.topic"), HOUR, HOUR + 30, 24)
    assert days == {HOUR // 24: 2, (HOUR + 29) // 24: 3}


def test_an_hour_with_a_window_without_data_has_no_sum_of_its_stage(ledger: Ledger) -> None:
    known = Totals(messages=3)
    with ledger.write() as tables:
        tables.buses.number("fedora")
        tables.windows.add(
            WindowRow(START + after, START + after + 300, Place("fedora", topic, stage), totals)
            for after, topic, stage, totals in [
                (0, "a.topic", Stage.BUS, known),
                (0, "a.topic", Stage.WORKER, known),
                (0, "b.topic", Stage.WORKER, known),
                (3300, "a.topic", Stage.WORKER, known),
                (0, "a.topic", Stage.LISTENER, known),
                (300, "", Stage.LISTENER, None),
                (3600, "a.topic", Stage.LISTENER, known),
                (3600, "a.topic", Stage.BUS, known),
            ]
        )
        listener = Place("fedora", "a.topic", Stage.LISTENER)
        tables.windows.correct([(START + 3600, listener, Totals(recovered=1))])
    with ledger.read() as tables:
        found = sorted(tables.topics.reached(HOUR, HOUR + 2), key=lambda one: one[:3])
    assert found == [
        ReachedSum("fedora", "listener", HOUR, None),
        ReachedSum("fedora", "listener", HOUR + 1, 4),  # with what was missing first
        ReachedSum("fedora", "worker", HOUR, 9),
    ]


def test_the_newest_messages_of_a_topic_come_with_their_way(ledger: Ledger) -> None:
    record(ledger, HANDLED, 0, 10, 20)
    record(ledger, IGNORED, 30)
    record(ledger, HANDLED._replace(topic="b.topic"), 40)
    with ledger.write() as tables:
        reports = [
            TapReport(f"handled-{n}", "a.topic", "passed", f"task-{n}", START + n + 1)
            for n in (10, 20)
        ]
        twice = TapReport("handled-20", "a.topic", "passed", "earlier", START + 20)
        tables.tap_reports.add("fedora", [twice, *reports], START + 50)
        for task, root in (("task-10", "task-10"), ("handler", "task-10"), ("task-20", "task-20")):
            tables.tasks.receive(task, "a.task", START + 12, Origin(root, None))
            tables.tasks.change(task, "started", START + 13)
        tables.tasks.change("task-10", "succeeded", START + 14)
        tables.tasks.change("handler", "succeeded", START + 15)
        tables.filled.add([Observation(HANDLED, "archived", START + 5, START + 5)])
    with ledger.read() as tables:
        newest = tables.topics.newest("fedora", "a.topic", 4)
        (handled,) = tables.topics.handled("fedora", "a.topic", 1)
        _, finished, first = tables.topics.handled("fedora", "a.topic", 5)
    assert [one.id for one in newest] == ["archived", "ignored-30", "handled-20", "handled-10"]
    assert [one.filled for one in newest] == [True, False, False, False]
    newest = newest[1:]
    assert (newest[0].outcome, newest[0].reason, newest[0].report) == ("ignored", "releng", None)
    assert (handled.id, handled.task, handled.finished_at) == ("handled-20", "started", None)
    assert (finished.sent_at, finished.received_at) == (START + 9, START + 10)
    assert handled.passed_at is None
    assert finished[8:] == (START + 11, START + 13, START + 14, START + 15)
    assert first[6:] == (None,) * 6


QUERIES = {
    name: query.format(numbers="1, 2, 3")
    for name, query in vars(topics).items()
    if isinstance(query, str) and "SELECT" in query and name != "HOURS"
}


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", QUERIES)
def test_no_query_of_a_topic_goes_through_a_large_table(name: str, ledger: Ledger) -> None:
    with foreign(ledger.name) as db:
        plan = [
            row[3]
            for row in db.execute(
                f"EXPLAIN QUERY PLAN {QUERIES[name]}", [1] * QUERIES[name].count("?")
            )
        ]
    large = "hourly_sums|archive_sums|messages|windows|tap_reports|tasks|member"
    assert [step for step in plan if re.match(f"SCAN ({large})", step)] == []
