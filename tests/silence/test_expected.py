"""Topics that have to come from the first day on, before anybody knows what is usual."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from busmon.ledger.archive import Span
from busmon.rules.packit import FEDORA, TABLE
from busmon.silence.metrics import SilenceMetrics
from busmon.silence.rates import WEEK_HOURS
from busmon.silence.state import PAGE
from busmon.sources.base import Cause
from tests.support.brokers import wait_until
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.busmon_process import PROJECT, Busmon
from tests.support.pages import text_of
from tests.support.silence import DAY, FIRST, MONDAY, Bench

BUSIEST = {topic for topic, entry in TABLE.items() if entry.busy}
PUSHES, REBASED = FEDORA + "pagure.git.receive", FEDORA + "pagure.pull-request.rebased"
SINCE = "busmon_topic_quiet_since_timestamp_seconds"


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(":memory:", rules="packit")
    bench.watch.learn(MONDAY)
    yield bench
    bench.ledger.close()


def silent(bench: Bench, now: float) -> set[str]:
    return {topic.name for topic, state in bench.watch.states(now).items() if state.silent}


def test_the_busiest_topics_are_silent_a_day_after_the_installation(bench: Bench) -> None:
    assert silent(bench, MONDAY + 600) == silent(bench, MONDAY + DAY) == set()
    assert silent(bench, MONDAY + DAY + 1) == BUSIEST
    state = bench.state(PUSHES, MONDAY + DAY + 1)
    assert (state.last, state.awaited, state.longest) == (None, MONDAY, DAY)
    assert state.ratio == pytest.approx(PAGE, rel=0.001), "it pages at once"
    assert state.since == pytest.approx(MONDAY + DAY, abs=20)
    assert state.together, "one cause is likely"


def test_the_metric_has_the_last_message_or_the_begin_of_the_wait(bench: Bench) -> None:
    bench.receive(PUSHES, MONDAY + 60)
    bench.receive(REBASED, MONDAY + 60)
    metrics = SilenceMetrics(bench.watch, bench.blind, clock=lambda: MONDAY + 2 * DAY)
    family = next(family for family in metrics.collect() if family.name == SINCE)
    found = {sample.labels["topic"]: sample.value for sample in family.samples}
    assert found == dict.fromkeys(BUSIEST, MONDAY) | {PUSHES: MONDAY + 60}


def test_blind_time_is_no_silence_of_an_expected_topic(bench: Bench) -> None:
    bench.connection.down(Cause.NETWORK, "away")
    bench.blind.tick(MONDAY + 1)
    bench.connection.up()
    bench.blind.tick(MONDAY + DAY + 1)
    assert silent(bench, MONDAY + 2 * DAY) == set()
    assert silent(bench, MONDAY + 2 * DAY + 2) == BUSIEST


def test_a_baseline_takes_the_place_of_the_expected_time() -> None:
    bench = Bench(":memory:", expected={"*": 3600})
    bench.past("learned", 6, MONDAY)
    bench.past("new", 2, MONDAY)
    bench.watch.learn(MONDAY)
    assert silent(bench, MONDAY + 3601) == {"new"}
    assert silent(bench, MONDAY + 2 * DAY) == {"new", "learned"}


def test_an_archive_finds_an_expected_topic_that_never_comes_sooner(bench: Bench) -> None:
    span = Span(FIRST - 8 * WEEK_HOURS, FIRST)
    for topic in (PUSHES, REBASED):
        with bench.ledger.write() as tables:
            tables.archive_sums.add_before("fedora", topic, span, dict.fromkeys(range(*span), 60))
    bench.watch.learn(MONDAY + 60)
    assert silent(bench, MONDAY + 3600) == set()
    assert silent(bench, MONDAY + DAY / 2) == {PUSHES}, (
        "nobody knows whether the other one is bound"
    )


def test_the_wait_continues_over_restarts_if_the_topic_stays_expected(tmp_path: Path) -> None:
    path, now = str(tmp_path / "ledger.sqlite"), MONDAY
    # None: the default. Each start is three days after the one before.
    for expected, silent_since in (
        (None, None), (None, MONDAY), ({}, None), (None, None), (None, MONDAY + 9 * DAY),
    ):  # fmt: skip
        bench = Bench(path, rules="packit", expected=expected)
        assert expected is None or bench.state(PUSHES, now).awaited is None
        bench.watch.learn(now)
        state = bench.state(PUSHES, now + 1)
        assert (state.quiet_since if state.silent else None) == silent_since, now
        bench.ledger.close()
        now += 3 * DAY


def test_a_clock_that_was_ahead_at_the_start_does_not_end_the_wait(bench: Bench) -> None:
    ahead = Bench(":memory:", rules="packit")
    ahead.watch.learn(MONDAY + 365 * DAY)
    ahead.watch.learn(MONDAY)
    assert silent(ahead, MONDAY + DAY + 1) == silent(bench, MONDAY + DAY + 1)
    ahead.ledger.close()


def test_a_topic_that_never_comes_is_gone_after_13_weeks_until_it_comes(bench: Bench) -> None:
    later = MONDAY + 92 * DAY
    bench.watch.learn(later)
    bench.receive(PUSHES, later)
    gone = {topic.name for topic, state in bench.watch.states(later).items() if state.gone}
    assert gone == BUSIEST - {PUSHES}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"expected": {}}, {}),
        ({"expected": {FEDORA + "pagure.*re[bc]*": 60}}, {PUSHES: 60, REBASED: 60}),
        ({"expected": {"org.*.git.receive": 60, PUSHES: 90}}, {PUSHES: 90}),
        ({"expected": {PUSHES: 60}, "retired": {PUSHES: MONDAY}}, {}),
        ({"expected": {PUSHES: 60}, "max_silence": {PUSHES: 120, REBASED: 120}}, {PUSHES: 120}),
        ({"expected": {"known.to.no.rule": 60}}, {}),
        (
            {"expected": {"known.to.no.rule": 60, "a.*": 60}, "subscription": lambda _: True},
            {"known.to.no.rule": 60},
        ),
        ({"expected": {PUSHES: 60, "x": 60}, "subscription": lambda topic: topic == PUSHES},
         {PUSHES: 60}),
        ({"subscription": lambda topic: topic == PUSHES}, {PUSHES: DAY}),
    ],
)  # fmt: skip
def test_what_is_expected_and_how_soon(
    settings: dict[str, object], expected: dict[str, float]
) -> None:
    bench = Bench(":memory:", rules="packit", **settings)  # type: ignore[arg-type] # of the table
    bench.watch.learn(MONDAY)
    just_after = {name: MONDAY + seconds + 1 for name, seconds in expected.items()}
    assert silent(bench, MONDAY + 400 * DAY) == expected.keys()
    for name, moment in just_after.items():
        assert not bench.state(name, moment - 2).silent
        assert bench.state(name, moment).silent
    bench.ledger.close()


def test_a_topic_that_never_comes_is_missed_after_a_kill_too(
    tmp_path: Path, certificates: Certificates
) -> None:
    broker = Mosquitto(tmp_path / "broker", certificates).start()
    bus = {"type": "mqtt", "rules": "all", "url": broker.url, "topics": ["a/+"], "client_id": "me"}
    busmon = Busmon(tmp_path, {"bus": bus})
    busmon.configure('[silence]\nexpected_topics = { "a/b" = "2s", "b" = "2s" }')

    def since() -> dict[str, float]:
        _, lines = busmon.ask(f"/metrics?name[]={SINCE}")
        return {
            sample.labels["topic"]: sample.value
            for family in text_string_to_metric_families("\n".join(lines) + "\n")
            for sample in family.samples
        }

    try:
        with busmon:
            wait_until(since, what="the silence")
            before = since()
            assert before.keys() == {"a/b"}, "busmon does not subscribe to the other"
            busmon.kill()
        with busmon:
            wait_until(since, what="the silence after the restart")
            assert since() == before
            missed = "a/b: no message since busmon began to watch, "
            wait_until(lambda: missed in "".join(busmon.ask("/v1/status")[1]))
            assert '"kind": "bus"' in "".join(busmon.ask("/v1/status")[1])
            text = text_of("\n".join(busmon.ask("/topics")[1]).encode())
            assert ": no message since busmon began to watch, " in text
            assert "; expected within 2 s" in text
            command = [
                sys.executable,
                "-m",
                "busmon",
                "check-config",
                "-c",
                str(busmon.configuration),
            ]
            shown = subprocess.run(command, capture_output=True, check=True, text=True, cwd=PROJECT)
            assert "silence\n  within 2s   bus: a/b, until it has a baseline\n" in shown.stdout

            def heard() -> bool:
                broker.publish([("a/b", b"{}")])  # each time: two seconds later it is silent again
                return not since()

            wait_until(heard, what="the end of the silence")
    finally:
        broker.close()
