"""Silent topics over a ledger with a past, and in a busmon process."""

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from prometheus_client.parser import text_string_to_metric_families

from busmon.ledger.batch import Series
from busmon.ledger.ledger import Ledger
from busmon.ledger.values import Interval
from busmon.message import Topic
from busmon.pipeline import OTHER
from busmon.silence.pace import MIN_TOPICS
from busmon.silence.rates import WEEK_HOURS
from busmon.silence.state import SilenceState
from tests.ledger.past import past
from tests.support.brokers import wait_until
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.busmon_process import Busmon
from tests.support.silence import DAY, FIRST, MONDAY, Bench

SILENT_SINCE = "busmon_topic_quiet_since_timestamp_seconds"


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(":memory:")
    yield bench
    bench.ledger.close()


def test_a_topic_that_stopped_is_silent_and_others_are_not(bench: Bench) -> None:
    bench.past("stopped", 12, MONDAY - 2 * DAY)
    bench.past("flowing", 12, MONDAY - 60)
    bench.past("new", 2, MONDAY - DAY)
    assert not bench.state("stopped").ready, "before anything was learned"
    bench.watch.learn(MONDAY)
    assert bench.state("stopped").silent
    assert bench.state("stopped").expected == pytest.approx(96, rel=0.05)
    flowing = bench.state("flowing")
    assert flowing.expected == pytest.approx(2 / 60, rel=0.1)
    assert (flowing.silent, flowing.limit) == (False, bench.state("stopped").limit)
    new = bench.state("new")
    assert new == SilenceState(silent=False, begun=new.begun, last=MONDAY - DAY)
    bench.receive("stopped", MONDAY)
    assert not bench.state("stopped").silent, "whatever the outcome"


def test_folded_topics_have_no_state(bench: Bench) -> None:
    bench.past(OTHER, 12, MONDAY)
    bench.watch.learn(MONDAY)
    assert bench.watch.states(MONDAY) == {}


def test_a_topic_stays_silent_until_it_comes_or_is_retired(tmp_path: Path) -> None:
    """After 13 weeks it is gone, and still is when its history is forgotten, and restarts too."""
    path, last = str(tmp_path / "ledger.sqlite"), MONDAY - 14 * WEEK_HOURS * 3600
    bench = Bench(path)
    bench.past("gone", 12, last)
    bench.past("never usual", 1, last, rate=0)
    weeks = [bench.silent_after(last + week * WEEK_HOURS * 3600, "gone") for week in (1, 12, 14)]
    assert weeks == [(True, False), (True, False), (True, True)]
    later = last + 14 * 31 * DAY
    bench.ledger.prune(later, 7 * DAY)
    bench.ledger.close()
    bench = Bench(path)
    assert bench.silent_after(later, "gone") == (True, True)
    assert bench.silent_after(later, "never usual") == (False, False)
    assert bench.watch.watched() == {Topic("fedora", "gone")}
    bench.receive("gone", later)
    assert not bench.state("gone", later).silent
    assert bench.silent_after(later, "gone") == (False, False)
    bench.ledger.close()


def test_a_silence_outlasts_the_history_that_it_is_known_by(bench: Bench) -> None:
    """As of a rare topic, of which the oldest messages are forgotten."""
    bench.past("rare", 30, MONDAY, rate=2)
    bench.watch.learn(MONDAY)
    bench.watch.learn(MONDAY + 3 * DAY)
    assert bench.state("rare", MONDAY + 3 * DAY).silent
    bench.ledger.prune(MONDAY + 14 * 31 * DAY, DAY)
    bench.watch.learn(MONDAY + 3 * DAY + 60)
    assert bench.state("rare", MONDAY + 3 * DAY + 60).gone


def test_blind_time_is_not_silence(bench: Bench) -> None:
    bench.past("topic", 12, MONDAY)
    bench.watch.learn(MONDAY)
    bench.connection.stopped()
    bench.blind.tick(MONDAY + 1)
    later = MONDAY + 3 * DAY
    assert not bench.state("topic", later).silent, "while it lasts"
    bench.connection.up()
    bench.blind.tick(later)
    assert bench.state("topic", later + 1).expected == pytest.approx(0, abs=0.01)
    for second in range(0, 3 * DAY, 20):
        bench.blind.tick(later + second)
    assert bench.state("topic", later + 2 * DAY).silent


def test_pauses_are_kept_and_no_longer_than_the_limit(tmp_path: Path) -> None:
    bench = Bench(str(tmp_path / "ledger.sqlite"))
    bench.past("topic", 12, MONDAY)
    bench.watch.learn(MONDAY)
    bench.watch.refresh()
    limit = bench.state("topic").limit
    for wait, expected in [(3600, 2.0), (7200, 4.0), (3 * DAY, limit)]:
        last = bench.state("topic", MONDAY + 9 * DAY).last
        assert last is not None
        bench.receive("topic", last + wait)
        bench.watch.refresh()
        bench.watch.learn(last + wait)
        with bench.ledger.read() as tables:
            rows = tables.silence.pauses("fedora", "topic")
        assert rows[int((last + wait) // DAY)] == pytest.approx(expected, rel=0.15)
    bench.ledger.close()


def test_hours_that_were_half_blind_teach_twice_the_rate(tmp_path: Path) -> None:
    path, hours = str(tmp_path / "ledger.sqlite"), range(-12 * WEEK_HOURS, 0)
    starts = [MONDAY + 3600.0 * hour for hour in hours]
    ledger = Ledger(path)
    with ledger.write() as tables:
        blind = [Interval(start, start + 1800) for start in starts]
        tables.blind_times.save("fedora", MONDAY, 0.0, blind)
    ledger.close()
    bench = Bench(path)
    bench.past("topic", 12, MONDAY - 1)
    bench.watch.learn(MONDAY)
    assert bench.state("topic", MONDAY + 3600).expected == pytest.approx(4, rel=0.1)
    bench.ledger.close()


def test_a_topic_is_expected_as_slowly_as_its_bus_is(bench: Bench) -> None:
    bench.past("steady", 12, MONDAY - 1)
    holiday = {hour: 4 if hour < FIRST - 72 else 1 for hour in range(FIRST - 2016, FIRST)}
    for number in range(MIN_TOPICS):
        past(bench.ledger, Series("fedora", f"slow {number}", "handled", ""), holiday, MONDAY - 1)
    bench.watch.learn(MONDAY)
    expected = bench.state("steady", MONDAY + 3600).expected
    assert expected is not None
    assert 0.2 * 2 < expected < 0.7 * 2


def test_what_is_silent_stays_so_while_its_bus_slows_down(bench: Bench) -> None:
    buses = [f"slow {number}" for number in range(MIN_TOPICS)]
    for topic in ("stopped", *buses):
        bench.past(topic, 12, MONDAY - 1, rate=8)
    ratios = []
    for hour in range(1, 20):
        count, now = {FIRST + hour - 1: 8 if hour < 6 else 1}, MONDAY + 3600 * hour
        for topic in buses:
            past(bench.ledger, Series("fedora", topic, "handled", ""), count, now - 1)
        bench.watch.learn(now)
        ratios.append(bench.state("stopped", now).ratio or 0.0)
    assert ratios == sorted(ratios)
    bench.receive("stopped", now)
    bench.watch.learn(now + 3600)
    assert bench.state("stopped", now + 3600).ratio == pytest.approx(0.1, abs=0.1)


def pauses(bench: Bench) -> list[float]:
    with bench.ledger.read() as tables:
        return list(tables.silence.pauses("fedora", "topic").values())


def test_the_blind_time_of_a_pause_does_not_count(bench: Bench) -> None:
    bench.past("topic", 12, MONDAY)
    bench.watch.learn(MONDAY)
    bench.watch.refresh()
    bench.connection.stopped()
    bench.blind.tick(MONDAY + 1)
    bench.connection.up()
    bench.blind.tick(MONDAY + 3600)
    bench.receive("topic", MONDAY + 7200)
    bench.watch.refresh()
    bench.watch.learn(MONDAY + 7200)
    assert pauses(bench) == [pytest.approx(2.0, rel=0.15)]


def test_pauses_are_written_at_the_end_and_an_end_stops_learning(bench: Bench) -> None:
    now, stopping = time.time(), Event()
    bench.past("topic", 12, now - 7200)
    bench.watch.learn(now)
    bench.watch.refresh()
    bench.receive("topic", now)
    bench.watch.refresh()
    stopping.set()
    bench.watch.run(stopping)
    assert pauses(bench) == [pytest.approx(4.0, rel=0.15)]
    bench.past("late", 12, now)
    bench.watch.learn(now, stopping)
    assert not bench.state("late").ready


def test_a_configured_silence_needs_no_baseline() -> None:
    bench = Bench(":memory:", {"to*": 3600})
    bench.receive("topic", MONDAY)
    bench.receive("other", MONDAY)
    assert not bench.state("topic", MONDAY + 3600).silent
    bench.blind.tick(MONDAY + 20)
    assert bench.state("topic", MONDAY + 3601).silent
    assert not bench.state("other", MONDAY + 3601).silent
    bench.watch.learn(MONDAY + 3601)
    assert bench.watch.watched() == {Topic("fedora", "topic")}, "so it keeps its series"
    bench.ledger.close()


def test_hundreds_of_topics_are_learned_from_a_ledger_with_a_past(bench: Bench) -> None:
    for number in range(100):
        bench.past(f"topic {number}", 5, MONDAY, rate=3)
    bench.watch.learn(MONDAY)
    assert all(state.ready for state in bench.watch.states(MONDAY).values())


def test_a_volume_that_is_too_low_is_known_over_restarts(tmp_path: Path) -> None:
    path, days = str(tmp_path / "ledger.sqlite"), 3
    bench = Bench(path)
    bench.past("topic", 12, MONDAY - days * DAY - 1, rate=20)
    bench.watch.learn(MONDAY - days * DAY)
    assert not bench.state("topic", MONDAY - days * DAY).low
    few = dict.fromkeys(range(FIRST - days * 24, FIRST), 4)
    past(bench.ledger, Series("fedora", "topic", "handled", ""), few, MONDAY - 1)
    bench.receive("topic", MONDAY - 1)
    bench.watch.learn(MONDAY)
    assert bench.state("topic").low
    before = bench.state("topic").volume
    with bench.ledger.read() as tables:
        rows = {row.day: row.highest for row in tables.silence.deficits("fedora", "topic")}
    assert rows[FIRST // 24 - 1] is None, "it began with an alarm, which is not usual"
    bench.ledger.close()
    bench = Bench(path)
    bench.watch.learn(MONDAY)
    after = bench.state("topic").volume
    assert before
    assert after
    assert (after.low, after.deficit) == (True, before.deficit)
    bench.ledger.close()


def test_a_wrong_clock_changes_nothing_of_what_is_known(bench: Bench) -> None:
    bench.past("topic", 12, MONDAY - 60)
    bench.ledger.set_floor(MONDAY)
    bench.watch.learn(MONDAY)
    usual = bench.state("topic", MONDAY + 60)
    for wrong in (MONDAY - 40 * 365 * DAY, MONDAY + 12 * 365 * DAY):
        bench.watch.learn(wrong)
        assert bench.state("topic", MONDAY + 60) == usual
    bench.receive("topic", MONDAY + 12 * 365 * DAY)
    assert not bench.state("topic", MONDAY + 120).silent, "it counts as of now"
    assert bench.state("topic", MONDAY + 2 * DAY).silent


def gauges(busmon: Busmon, name: str) -> dict[str, float]:
    _, lines = busmon.ask(f"/metrics?name[]={name}")
    return {
        sample.labels["topic"]: sample.value
        for family in text_string_to_metric_families("\n".join(lines) + "\n")
        for sample in family.samples
    }


def test_a_stopped_topic_is_detected_with_months_of_history(
    tmp_path: Path, certificates: Certificates
) -> None:
    now = time.time()
    ledger = Ledger(str(tmp_path / "ledger.sqlite"))
    hours = range(int(now // 3600) - 10 * WEEK_HOURS, int(now // 3600) + 1)
    for topic, stopped in [("stopped", 2 * DAY), ("flowing", 30)]:
        last = now - stopped
        counts = {hour: 60 for hour in hours if hour <= last // 3600}
        past(ledger, Series("bus", topic, "handled", ""), counts, last)
    past(ledger, Series("bus", "new", "handled", ""), {int(now // 3600) - 48: 9}, now - 2 * DAY)
    ledger.close()
    broker = Mosquitto(tmp_path / "broker", certificates).start()
    bus = {"type": "mqtt", "rules": "all", "url": broker.url, "topics": ["#"], "client_id": "me"}
    try:
        with Busmon(tmp_path, {"bus": bus}) as busmon:
            ready = {"stopped": 1, "flowing": 1, "new": 0}
            wait_until(lambda: gauges(busmon, "busmon_topic_baseline_ready") == ready)
            silent = {"stopped": 1, "flowing": 0, "new": 0}
            assert gauges(busmon, "busmon_topic_silent") == silent
            since = gauges(busmon, SILENT_SINCE)
            assert since == {"stopped": pytest.approx(now - 2 * DAY, abs=0.01)}
            expected = gauges(busmon, "busmon_topic_expected_since_last_messages")
            limits = gauges(busmon, "busmon_topic_silence_limit_messages")
            assert expected.keys() == limits.keys() == {"stopped", "flowing"}
            assert expected["stopped"] > limits["stopped"]
            assert expected["flowing"] < limits["flowing"]
            busmon.wait_until_ready()
            broker.publish([("stopped", b"{}")])
            wait_until(lambda: not any(gauges(busmon, "busmon_topic_silent").values()))
            assert gauges(busmon, SILENT_SINCE) == {}
    finally:
        broker.close()
