"""Topics that are retired from a date on: their silence is usual, and their messages count."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.core import Metric

from busmon.archive.opinion import Opinions
from busmon.config.describe import describe
from busmon.diagnosis.topics import Received, topic_facts
from busmon.ledger.batch import Series
from busmon.message import Topic
from busmon.rules.packit import TABLE
from busmon.silence.metrics import SilenceMetrics
from busmon.silence.state import SilenceState, setting_of
from busmon.silence.watcher import RetiredTopic
from tests.config import AMQP, LISTENER, problems, read
from tests.samples import FEDORA_FILE
from tests.support.brokers import wait_until
from tests.support.busmon_process import PROJECT, Busmon
from tests.support.exposition import counter
from tests.support.pages import text_of
from tests.support.silence import DAY, MONDAY, Bench

NOT_RETIRED, RETIRED = SilenceState(silent=False), SilenceState(silent=False, retired=True)


def test_a_topic_is_retired_the_moment_its_date_comes() -> None:
    bench = Bench(":memory:", {"old.b": DAY}, {"old.*": MONDAY + DAY})
    for topic in ("old.a", "old.b", "new"):
        bench.past(topic, 12, MONDAY - 2 * DAY)
    bench.watch.learn(MONDAY)
    before, date = MONDAY + DAY - 1, MONDAY + DAY
    for topic in ("old.a", "old.b"):
        state = bench.state(topic, before)
        assert (state.silent, state.ready, state.retired) == (True, True, False)
        assert bench.state(topic, date) == RETIRED
    assert bench.state("new", date).silent
    assert bench.state("new", date).retired is None
    assert bench.watch.retired(before) == []
    last = MONDAY - 2 * DAY
    assert bench.watch.retired(date) == [
        RetiredTopic(Topic("fedora", topic), date, last) for topic in ("old.a", "old.b")
    ]


def test_a_retired_topic_that_still_comes_stays_retired_and_counts() -> None:
    bench = Bench(":memory:", retired={"old": MONDAY})
    bench.past("old", 12, MONDAY - 60)
    bench.receive("old", MONDAY + 60)
    assert bench.state("old", MONDAY + 61) == RETIRED
    assert bench.state("old", MONDAY + 30 * DAY) == RETIRED
    assert bench.watch.retired(MONDAY + 61)[0].last == MONDAY + 60
    count = bench.ledger.counts()[Series("fedora", "old", "handled", "")]
    assert count.last_received == MONDAY + 60


def test_a_retired_topic_says_nothing_of_what_is_usual() -> None:
    bench = Bench(":memory:", retired={"old": MONDAY})
    bench.past("old", 12, MONDAY - 60)
    bench.past("new", 12, MONDAY - 60)
    bench.watch.learn(MONDAY - 1)
    assert bench.state("old", MONDAY - 1).ready
    bench.watch.learn(MONDAY + DAY)
    assert bench.state("new", MONDAY + DAY).ready
    assert not bench.state("old", MONDAY - 1).ready


def test_the_verdict_does_not_wait_for_a_retired_topic() -> None:
    came = Received({"old": 0.0, "new": 0.0}, 0, {})
    states = {Topic("fedora", "old"): RETIRED, Topic("fedora", "new"): NOT_RETIRED}
    facts = topic_facts("fedora", came, states, Opinions(), 10.0)
    assert (facts.unlearned, facts.silent) == (1, ())


DATES = [
    ("2026-12-01", "2026-12-01T00:00:00+00:00"),
    ("2026-12-01T09:30:00", "2026-12-01T09:30:00+00:00"),
    ("2026-12-01 09:30:00Z", "2026-12-01T09:30:00+00:00"),
    ("2026-12-01T09:30:00+01:00", "2026-12-01T08:30:00+00:00"),
    ('"2026-12-01"', "2026-12-01T00:00:00+00:00"),
    ('"2026-12-01T09:30+01:00"', "2026-12-01T08:30:00+00:00"),
]


@pytest.mark.parametrize(("written", "moment"), DATES)
def test_a_date_is_its_beginning_in_utc(written: str, moment: str, tmp_path: Path) -> None:
    (tmp_path / "fedora.toml").write_text(LISTENER)
    config = read(tmp_path, f'[silence.retired]\n"org.*" = {written}\n{AMQP}')
    [since] = config.silence.retired.values()
    assert datetime.fromtimestamp(since, UTC).isoformat() == moment
    shown = moment.removesuffix("+00:00").replace("T", " ")
    assert f"silence\n  retired     org.* from {shown} UTC on" in describe(config)


def test_the_documented_recipe_for_the_move_to_forgejo_is_valid(tmp_path: Path) -> None:
    text = (PROJECT / "config/README.md").read_text()
    recipe = text.partition("   ```toml\n   [silence]\n")[2].partition("   ```")[0]
    (tmp_path / "fedora.toml").write_text(LISTENER)
    silence = read(tmp_path, f"[silence]\n{recipe}\n{AMQP}").silence
    assert all(setting_of(topic, silence.retired) for topic in TABLE if ".pagure." in topic)
    assert not any(setting_of(topic, silence.retired) for topic in TABLE if "forgejo" in topic)
    assert setting_of("org.fedoraproject.prod.forgejo.push", silence.max_silence) == DAY


@pytest.mark.parametrize("written", ["1", "true", "[]", "09:30:00", '"soon"', '""', '"1d"'])
def test_what_is_no_date_is_refused(written: str, tmp_path: Path) -> None:
    (tmp_path / "fedora.toml").write_text(LISTENER)
    assert problems(tmp_path, f'[silence.retired]\n"org.*" = {written}\n{AMQP}') == [
        'silence.retired."org.*": should be a date, such as 2026-12-01, or a date and time'
    ]


@pytest.mark.parametrize("written", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])
def test_a_date_that_is_none_in_utc_is_refused(written: str, tmp_path: Path) -> None:
    (tmp_path / "fedora.toml").write_text(LISTENER)
    assert problems(tmp_path, f'[silence.retired]\n"org.*" = {written}\n{AMQP}') == [
        'silence.retired."org.*": should be in the years 1 to 9999 in UTC'
    ]


def test_the_metrics_change_when_the_date_comes() -> None:
    """Without a restart: they are computed at each scrape."""
    bench = Bench(":memory:", {"old": DAY}, {"old": MONDAY})
    bench.past("old", 12, MONDAY - 2 * DAY)
    bench.past("new", 12, MONDAY - 2 * DAY)
    bench.watch.learn(MONDAY - 1)
    moments = iter([MONDAY - 1, MONDAY])
    metrics = SilenceMetrics(bench.watch, bench.blind, clock=lambda: next(moments))
    names = ("silent", "retired", "baseline_ready", "expected_since_last_messages")
    before, after = (values(metrics.collect(), names) for _ in range(2))
    assert before == {
        ("silent", "old"): 1, ("silent", "new"): 1, ("retired", "old"): 0,
        ("baseline_ready", "old"): 1, ("baseline_ready", "new"): 1,
        ("expected_since_last_messages", "old"): 96, ("expected_since_last_messages", "new"): 96,
    }  # fmt: skip
    changed = before | {("silent", "old"): 0, ("retired", "old"): 1, ("baseline_ready", "old"): 0}
    del changed["expected_since_last_messages", "old"]
    assert after == changed


def values(families: Iterable[Metric], names: Iterable[str]) -> dict[tuple[str, str], int]:
    """Return these metrics by short name and topic, rounded."""
    return {
        (name, sample.labels["topic"]): round(sample.value)
        for family in families
        for name in names
        if family.name == f"busmon_topic_{name}"
        for sample in family.samples
    }


def test_the_service_shows_what_is_retired(tmp_path: Path) -> None:
    bus = {"type": "replay", "rules": "packit", "files": [str(FEDORA_FILE)]}
    busmon = Busmon(tmp_path, {"fedora": bus})
    old, new = (
        f"org.fedoraproject.prod.{topic}" for topic in ("pagure.git.receive", "forgejo.push")
    )
    busmon.configure(
        '[silence]\nmax_silence = { "*" = "1s" }\nretired = { "*.pagure.*" = 2026-01-01 }'
    )

    def seen() -> list[int]:
        _, lines = busmon.ask("/metrics")
        text = "\n".join(lines) + "\n"
        silent = counter(text, "busmon_topic_silent", ("topic",))
        return [silent[old,], silent[new,], counter(text, "busmon_topic_retired", ("topic",))[old,]]

    with busmon:
        wait_until(lambda: seen() == [0, 1, 1], what="the other topic to be silent")
        page = text_of("\n".join(busmon.ask("/")[1]).encode())
    assert f"fedora: {old}, since 2026-01-01 00:00 ; but its newest message" in page
    assert f"fedora: {new}, since" not in page
