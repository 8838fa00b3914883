"""Silence of a topic: what is learned of it, and when it has been silent for too long."""

import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from busmon.ledger.batch import Observation, Series
from busmon.ledger.ledger import Ledger
from busmon.message import Judgement
from busmon.pipeline import OTHER
from busmon.rules import HANDLED, Rules, rule_set
from busmon.settings.audit import Silence
from busmon.silence.baseline import (
    MARGIN_FACTOR,
    PACE_PRIOR_MESSAGES,
    Baseline,
    Pace,
    common_pace,
    learn,
    pause_limit,
    reconstruct_pauses,
)
from busmon.silence.blind_time import BlindTime
from busmon.silence.rates import LEARNED_HOURS, WEEK_HOURS, Hour, Rates, is_weekend, learn_rates
from busmon.silence.state import USUAL_MAX_SILENCE, SilenceState, max_silence, silence_state
from busmon.silence.watcher import SilenceWatcher, Topic
from busmon.sources.amqp import fedora_toml
from busmon.sources.base import ConnectionState
from tests.ledger.past import past
from tests.support.brokers import wait_until
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.busmon_process import Busmon

MONDAY = 1_790_553_600  # 28 September 2026, 0:00 UTC
FIRST = MONDAY // 3600  # hour
DAY = 86400


def history(hourly: Sequence[int], watched: float = 1.0, first: int = FIRST) -> list[Hour]:
    return [Hour(first + index, messages, watched) for index, messages in enumerate(hourly)]


def flat(rate: float = 2.0) -> Rates:
    return Rates.of([rate] * WEEK_HOURS)


def office_hours(week: int) -> list[int]:
    """Ten an hour from 8 to 16 on working days, one an hour else by day, none at night."""
    del week
    hours = []
    for day in range(7):
        for hour in range(24):
            busy = 10 if day < 5 else 1
            hours.append(busy if 8 <= hour < 16 else 0)
    return hours


# Rates


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


# Pauses and their limit


def test_the_pace_falls_on_a_holiday_and_stands_still_in_a_pause() -> None:
    usual, holiday, pause = [2] * (4 * WEEK_HOURS), [2, 0, 0, 0] * 24, [0] * 100
    at_pace, _ = reconstruct_pauses(history(usual), flat())
    slow, _ = reconstruct_pauses(history(usual + holiday), flat())
    silent, _ = reconstruct_pauses(history(usual + holiday + pause), flat())
    assert at_pace.factor() == 1
    assert 0.25 < slow.factor() < 0.45
    assert silent.factor() == pytest.approx(slow.factor(), rel=0.1)
    assert Pace(100, 50).factor() == 1, "never more than usual"
    assert Pace(0, PACE_PRIOR_MESSAGES).factor() == 0.5


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


def learned_limit(hours: Sequence[Hour], longest: Mapping[int, float]) -> float:
    baseline = learn(hours, longest)
    assert baseline
    assert baseline.limit
    return baseline.limit


def test_a_topic_that_comes_on_the_hour_is_not_silent_in_between() -> None:
    """Hourly counts can't tell such a topic from one that comes all the time."""
    hours = history([100] * (8 * WEEK_HOURS))
    assert learned_limit(hours, {}) > 100
    assert learned_limit(hours, dict.fromkeys(range(40), 99.0)) > 99


def test_pauses_that_were_seen_are_trusted_more_than_hourly_counts() -> None:
    hours = history([600] * (8 * WEEK_HOURS))
    fine = learned_limit(hours, dict.fromkeys(range(28), 20.0))
    assert learned_limit(hours, {}) > 600
    assert fine == pytest.approx(600 / 4, rel=0.05), "a quarter of an hour"


# States

TWO_AN_HOUR = Baseline(flat(2.0), pace=1.0, limit=20.0)

STATES = [
    # baseline, seconds since the last message, blind seconds of them, configured, usual
    ("in time", TWO_AN_HOUR, 9 * 3600, 0, None, None, (True, False, 18)),
    ("too late", TWO_AN_HOUR, 11 * 3600, 0, None, None, (True, True, 22)),
    ("blind for a part", TWO_AN_HOUR, 11 * 3600, 3600, None, None, (True, False, 20)),
    ("no baseline", None, 400 * DAY, 0, None, None, (False, False, None)),
    ("no baseline, usual", None, 400 * DAY, 0, None, DAY, (False, False, None)),
    ("no baseline, configured", None, 2 * DAY, 0, DAY, None, (False, True, None)),
    ("configured is longer", TWO_AN_HOUR, 11 * 3600, 0, DAY, None, (True, False, 22)),
    ("configured is shorter", TWO_AN_HOUR, 3601, 0, 3600, None, (True, True, 2)),
    ("configured and blind", TWO_AN_HOUR, 3 * 3600, 7200, 3600, None, (True, False, 2)),
    ("usual is shorter", TWO_AN_HOUR, 3601, 0, None, 3600, (True, True, 2)),
    ("configured and usual", TWO_AN_HOUR, 3601, 0, DAY, 3600, (True, False, 2)),
    ("never a message", TWO_AN_HOUR, None, 0, 1, 1, (True, False, None)),
    ("the clock was set back", TWO_AN_HOUR, -50, 0, 1, 1, (True, False, 0)),
]


@pytest.mark.parametrize(
    ("baseline", "since", "blind", "configured", "usual", "state"),
    [row[1:] for row in STATES],
    ids=[row[0] for row in STATES],
)
def test_a_topic_is(
    baseline: Baseline | None,
    since: float | None,
    blind: float,
    configured: float | None,
    usual: float | None,
    state: tuple[bool, bool, float | None],
) -> None:
    last = None if since is None else MONDAY - since
    spans = [(MONDAY - 100 - blind, MONDAY - 100)] if blind else []
    judged = silence_state(baseline, last, MONDAY, spans, configured, usual)
    assert (judged.ready, judged.silent) == state[:2]
    assert judged.expected == (state[2] if state[2] is None else pytest.approx(state[2], abs=0.01))


@given(st.floats(0, 1e7), st.floats(0, 1e6), st.lists(st.floats(0, 1e7), max_size=8))
def test_what_is_expected_never_shrinks_while_a_topic_pauses(
    since: float, wait: float, ends: list[float]
) -> None:
    """Whatever was blind before, as long as it is no more blind than the time that passes."""
    ordered = sorted(ends)
    spans = [(MONDAY + a, MONDAY + b) for a, b in zip(ordered[::2], ordered[1::2], strict=False)]
    before, after = (
        TWO_AN_HOUR.expected(MONDAY, MONDAY + until, spans) for until in (since, since + wait)
    )
    assert 0 <= before <= after + 1e-4
    assert after <= 2 * (since + wait) / 3600 + 1e-4


def test_a_topics_own_name_goes_first_then_patterns_in_order() -> None:
    bounds = {"org.*": 1, "org.fedoraproject.*": 2, "org.fedoraproject.a": 3}
    assert max_silence(bounds, "org.fedoraproject.a") == 3
    assert max_silence(bounds, "org.fedoraproject.b") == 1
    assert max_silence(bounds, "git.centos.org/x") is None


def test_every_topic_that_packit_binds_has_a_usual_bound() -> None:
    bindings = fedora_toml.read(Path(__file__).parents[2] / "config" / "fedora.toml").bindings
    assert [b for b in bindings if max_silence(USUAL_MAX_SILENCE, b.routing_key) is None] == []


# The watch over a ledger


class Bench:
    """A ledger with a past of a bus `fedora`, watched without a break until now."""

    def __init__(self, path: str, max_silence: dict[str, int] | None = None) -> None:
        self.ledger = Ledger(path)
        self.connection = ConnectionState()
        self.connection.up()
        self.blind = BlindTime(self.ledger, {"fedora": self.connection}, MONDAY)
        self.blind.tick(MONDAY)
        rule_sets = {"fedora": rule_set("all", Rules())}
        settings = Silence(max_silence=max_silence or {})
        self.watch = SilenceWatcher(settings, self.ledger, rule_sets, self.blind)

    def past(self, topic: str, weeks: int, until: float, rate: int = 2) -> None:
        last = int(until // 3600)
        hours = range(last - weeks * WEEK_HOURS + 1, last + 1)
        past(self.ledger, Series("fedora", topic, "handled", ""), dict.fromkeys(hours, rate), until)

    def receive(self, topic: str, at: float, verdict: Judgement = HANDLED) -> None:
        series = Series("fedora", topic, verdict.outcome, verdict.reason)
        self.ledger.record([Observation(series, f"{topic}{at}", at)])

    def state(self, topic: str, now: float = MONDAY) -> SilenceState:
        return self.watch.states(now)[Topic("fedora", topic)]


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
    assert flowing == SilenceState(True, False, flowing.expected, bench.state("stopped").limit)
    assert bench.state("new") == SilenceState(ready=False, silent=False)
    bench.receive("stopped", MONDAY)
    assert not bench.state("stopped").silent, "whatever the outcome"


def test_folded_topics_have_no_state(bench: Bench) -> None:
    bench.past(OTHER, 12, MONDAY)
    bench.watch.learn(MONDAY)
    assert bench.watch.states(MONDAY) == {}


def test_a_topic_that_stopped_too_long_ago_has_no_baseline(bench: Bench) -> None:
    bench.past("gone", 12, MONDAY - LEARNED_HOURS * 3600)
    bench.watch.learn(MONDAY)
    assert bench.state("gone") == SilenceState(ready=False, silent=False)


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
        last = bench.watch._last[Topic("fedora", "topic")]  # noqa: SLF001 - when it came
        bench.receive("topic", last + wait)
        bench.watch.refresh()
        bench.watch.learn(last + wait)
        with bench.ledger.read() as tables:
            rows = {pause.day: pause.expected for pause in tables.pauses.all()}
        assert rows[int((last + wait) // DAY)] == pytest.approx(expected, rel=0.15)
    bench.ledger.close()


def test_a_configured_silence_needs_no_baseline() -> None:
    bench = Bench(":memory:", {"to*": 3600})
    bench.receive("topic", MONDAY)
    bench.receive("other", MONDAY)
    assert not bench.state("topic", MONDAY + 3600).silent
    bench.blind.tick(MONDAY + 20)
    assert bench.state("topic", MONDAY + 3601).silent
    assert not bench.state("other", MONDAY + 3601).silent
    bench.ledger.close()


def test_hundreds_of_topics_are_learned_from_a_ledger_with_a_past(bench: Bench) -> None:
    for number in range(100):
        bench.past(f"topic {number}", 5, MONDAY, rate=3)
    bench.watch.learn(MONDAY)
    assert all(state.ready for state in bench.watch.states(MONDAY).values())


# A busmon process


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
            expected = gauges(busmon, "busmon_topic_expected_since_last_messages")
            limits = gauges(busmon, "busmon_topic_silence_limit_messages")
            assert expected.keys() == limits.keys() == {"stopped", "flowing"}
            assert expected["stopped"] > limits["stopped"]
            assert expected["flowing"] < limits["flowing"]
            busmon.wait_until_ready()
            broker.publish([("stopped", b"{}")])
            wait_until(lambda: not any(gauges(busmon, "busmon_topic_silent").values()))
    finally:
        broker.close()
