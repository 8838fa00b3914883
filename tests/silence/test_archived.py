"""What was learned from an archive counts for the hours that busmon did not watch."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from busmon.ledger.archive import Span
from busmon.message import Topic
from busmon.silence.archived import ArchivedHours
from busmon.silence.histories import read
from busmon.silence.rates import WEEK_HOURS, Hour
from tests.support.silence import DAY, FIRST, MONDAY, Bench

WEEKS = 8
COPR = "org.fedoraproject.prod.copr.build.end"
KOJI = "org.fedoraproject.prod.buildsys.tag"


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(":memory:")
    yield bench
    bench.ledger.close()


def archived(bench: Bench, topic: str, span: Span, rate: int | Mapping[int, int]) -> None:
    sums = rate if isinstance(rate, Mapping) else dict.fromkeys(range(*span), rate)
    with bench.ledger.write() as tables:
        tables.archive_sums.add_before("fedora", topic, span, sums)


def hours(bench: Bench, topic: str, now: float, blind: Mapping[int, float]) -> list[Hour]:
    of_topic = Topic("fedora", topic)
    counts = read(bench.ledger, {of_topic: now}, now, {"fedora": blind})
    return list(counts[of_topic].until(now, blind))


def test_a_topic_has_a_baseline_on_the_first_day(bench: Bench) -> None:
    begin = FIRST - 48
    for topic in ("flowing", "stopped", "not yet"):
        archived(bench, topic, Span(begin - WEEKS * WEEK_HOURS, begin), 2)
    bench.receive("flowing", MONDAY - 2 * DAY + 60)
    bench.receive("stopped", MONDAY - 2 * DAY + 60)
    bench.receive("flowing", MONDAY - 60)
    bench.watch.learn(MONDAY)
    states = {topic.name: of for topic, of in bench.watch.states(MONDAY).items()}
    assert {name: (of.ready, of.silent) for name, of in states.items()} == {
        "flowing": (True, False),
        "stopped": (True, True),
    }
    counts = bench.ledger.counts()
    assert sum(count.messages for count in counts.values()) == 3, "no counter includes the archive"


def test_a_topic_of_the_archive_that_never_comes_here_is_low(tmp_path: Path) -> None:
    """For example because busmon's queue is not bound to it."""
    bench = Bench(str(tmp_path / "ledger.sqlite"), rules="packit")
    begin = FIRST - 48
    for topic in (COPR, KOJI):
        archived(bench, topic, Span(begin - WEEKS * WEEK_HOURS, begin), 2)
    for hour in reversed(range(48)):
        bench.receive(KOJI, MONDAY - hour * 3600 - 60)
    bench.watch.learn(MONDAY)
    states = {topic: bench.state(topic) for topic in (COPR, KOJI)}
    assert {topic: (of.ready, of.silent, of.low) for topic, of in states.items()} == {
        COPR: (True, False, True),
        KOJI: (True, False, False),
    }
    bench.ledger.close()


def test_where_busmon_watched_its_own_counts_are_right(bench: Bench) -> None:
    """The archive has 5 in each hour; busmon counted 2, and was blind for a part of one hour."""
    archived(bench, "topic", Span(FIRST - 4, FIRST + 6), 5)
    bench.past("topic", 1, MONDAY + 8 * 3600)  # begins 159 hours before
    with bench.ledger.write() as tables:
        db = tables.hourly_sums._db  # noqa: SLF001 - busmon began at FIRST
        db.execute("DELETE FROM hourly_sums WHERE hour < ?", (FIRST,))
    found = hours(bench, "topic", MONDAY + 9 * 3600, {FIRST + 3: 1800.0, FIRST + 7: 1800.0})
    messages = [5, 5, 5, 5, 5, 2, 2, 5, 2, 2, 2, 2, 2, 0]
    watched = [1.0] * 11 + [0.5, 1.0, 0.0]
    expected = zip(range(FIRST - 4, FIRST + 10), messages, watched, strict=True)
    assert found == [Hour(*hour) for hour in expected]


def test_hours_that_nobody_knows_teach_nothing(bench: Bench) -> None:
    """A hole of the archive, and what came between its last hour and busmon's first one."""
    sums = {hour: 20 for hour in range(FIRST - 10, FIRST) if hour != FIRST - 5}
    archived(bench, "busy", Span(FIRST - 10, FIRST), sums)
    archived(bench, "rare", Span(FIRST - 10, FIRST), {FIRST - 9: 1})
    bench.receive("busy", MONDAY + 2 * 3600)
    now = MONDAY + 3 * 3600
    for topic in ("busy", "rare"):
        unknown = [one.hour for one in hours(bench, topic, now, {}) if not one.watched]
        assert unknown == [FIRST - 5, FIRST, FIRST + 1, FIRST + 3]


def test_a_quiet_archive_has_no_holes(bench: Bench) -> None:
    archived(bench, "rare", Span(FIRST - 10, FIRST), {FIRST - 9: 1, FIRST - 2: 1})
    with bench.ledger.read() as tables:
        found = ArchivedHours(tables, {"fedora": {}}, MONDAY)
    assert set(found.watched(("fedora", "rare")).values()) == {1.0, 0.0}
