"""/metrics as a whole: its text, its documentation, and scrapes while messages are recorded."""

import json
import math
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from busmon.ledger.batch import Observation, Series
from busmon.ledger.ledger import Recorded
from busmon.ledger.messages import MessageTrace
from busmon.ledger.open_messages import OpenMessage, State
from busmon.message import Stage
from busmon.metrics.collector import Metrics
from busmon.metrics.families import counter, gauge
from busmon.metrics.openmetrics import write_openmetrics
from busmon.observers.tap_batch import parse
from busmon.silence.rates import WEEK_HOURS
from busmon.sources.base import Cause
from tests.ledger.past import past
from tests.support import tap_reports
from tests.support.brokers import wait_until
from tests.support.brokers.redis import Redis
from tests.support.ledgers import judged
from tests.support.metrics import COPR, NOW, Bench, busy, message
from tests.support.sources import count
from tests.support.threads import running

DOCUMENTED = Path(__file__).parents[2] / "config/prometheus/METRICS.md"


def learned(bench: Bench) -> Bench:
    """Let there be a past from which a baseline was learned, a tap's report, and a gap, too."""
    hours = range(int(NOW // 3600) - 5 * WEEK_HOURS, int(NOW // 3600))
    past(bench.ledger, Series("fedora", COPR, "handled", ""), dict.fromkeys(hours, 2), NOW - 9)
    silent(bench)
    busy(bench)
    bench.silence.learn(NOW)
    bench.tap.take(parse(json.dumps(tap_reports.batch()).encode()), NOW)
    trace = MessageTrace("1", COPR, handled=True)
    with bench.ledger.write() as tables:
        missing = OpenMessage(NOW - 9, NOW, "fedora", Stage.LISTENER, State.MISSING, trace)
        tables.open_messages.add([missing])
    bench.auditor.refresh()
    return bench


def silent(bench: Bench) -> None:
    """Let three topics be silent together, one be gone, and one come in campaigns."""
    ages = {"copr.build.start": 2, "buildsys.tag": 2, "buildsys.build.state.change": 2}
    for topic, days in {**ages, "hotness.update.bug.file": 100}.items():
        series = Series("fedora", f"org.fedoraproject.prod.{topic}", "handled", "")
        past(bench.ledger, series, {}, NOW - days * 86400)
    now = int(NOW // 3600)
    on = {hour: 1 for hour in range(now - 13 * WEEK_HOURS, now) if (now - hour) // 24 % 14 < 5}
    series = Series("fedora", "org.fedoraproject.prod.logdetective.analysis", "handled", "")
    past(bench.ledger, series, on, NOW - 9)


def idle(bench: Bench) -> Bench:
    return bench


@pytest.mark.parametrize("state", [idle, busy, learned])
def test_promtool_has_no_complaints(bench: Bench, state: Callable[[Bench], Bench]) -> None:
    text = generate_latest(state(bench).registry)
    promtool = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (promtool.returncode, promtool.stdout, promtool.stderr) == (0, b"", b"")


def test_the_documentation_names_exactly_what_is_exposed(redis: Redis) -> None:
    bench = learned(Bench(":memory:", redis.url))
    with running(bench.celery.run, bench.queue.run):
        wait_until(bench.celery.lengths, what="the observer to measure the queue")
        wait_until(bench.queue.looks, what="a look at the listener's queue")
        exposed = {
            (family.name, family.type, frozenset(sample.labels) - {"le"})
            for family in parse_text(generate_latest(bench.registry).decode())
            for sample in family.samples
        }
    rows = re.findall(
        r"^\| `(\w+?)(?:\{(.*)\})?` \| (counter|gauge|histogram) \|",
        DOCUMENTED.read_text(),
        re.MULTILINE,
    )
    documented = {
        (name.removesuffix("_total"), kind, frozenset(labels.split(",") if labels else ()))
        for name, labels, kind in rows
    }
    assert documented == exposed


class Odd:
    """A collector of values and labels that have to be written with care."""

    def collect(self) -> Iterator[Metric]:
        numbers = [0, True, -0.5, 999999, 1e6, 1234567.5, NOW, math.inf, -math.inf, math.nan]
        labels = ['"', "\\", "\n", r"\n", "é", "", "\u2028", "a,b", "}", "{"]
        odd = zip(labels, numbers, strict=True)
        yield gauge("odd", 'With "\\" and\na line', ["b", "a"], (((n, "x"), v) for n, v in odd))
        yield counter("without_labels", "None.", [], [((), 1)])


@dataclass
class Once:
    """A collector of what was collected once."""

    families: list[Metric]

    def collect(self) -> list[Metric]:
        return self.families


@pytest.mark.parametrize("state", [idle, busy, learned])
def test_openmetrics_is_written_as_prometheus_client_does(
    bench: Bench, state: Callable[[Bench], Bench]
) -> None:
    state(bench).registry.register(Odd())
    once = Once(list(bench.registry.collect()))
    assert write_openmetrics(once) == openmetrics.generate_latest(once)  # type: ignore[no-untyped-call]  # prometheus-client's


@pytest.mark.parametrize("state", [idle, busy])
def test_both_formats_say_the_same(bench: Bench, state: Callable[[Bench], Bench]) -> None:
    text = generate_latest(state(bench).registry).decode()
    modern = write_openmetrics(bench.registry).decode()

    def samples(families: Iterable[Metric]) -> list[tuple[str, list[tuple[str, str]], float]]:
        found = [sample for family in families for sample in family.samples]
        found = [s for s in found if not s.name.startswith("process_")]
        return sorted((s.name, sorted(s.labels.items()), s.value) for s in found)

    assert samples(parse_openmetrics(modern)) == samples(parse_text(text))  # type: ignore[no-untyped-call]  # prometheus-client's


def test_every_known_series_is_there_at_zero_from_the_start(bench: Bench) -> None:
    labels = {"bus": "fedora", "topic": COPR}
    for outcome, reason in [
        ("handled", ""),
        ("ignored", "not-packit-user"),
        ("invalid", "not-json"),
        ("error", "rule-raises"),
    ]:
        name = "busmon_messages_total"
        assert bench.value(name, **labels, outcome=outcome, reason=reason) == 0
    for bus in bench.connections:
        assert bench.value("busmon_duplicates_total", bus=bus) == 0
        assert bench.value("busmon_unknown_schema_total", bus=bus) == 0
        assert bench.value("busmon_topics_folded_total", bus=bus) == 0
        assert bench.value("busmon_bus_connected", bus=bus) == 0
        assert bench.value("busmon_stage_delay_seconds_count", bus=bus, stage="bus") == 0
        assert bench.value("busmon_message_size_bytes_count", bus=bus) == 0
        for cause in Cause:
            assert bench.value("busmon_bus_disconnects_total", bus=bus, reason=cause) == 0
            assert bench.value("busmon_bus_connect_failures_total", bus=bus, reason=cause) == 0
    for reason in ("age", "size"):
        assert bench.value("busmon_ledger_pruned_rows_total", reason=reason) == 0


class Stuck(list[Observation]):
    """A batch whose writing waits, in the middle of its transaction, until released."""

    def __init__(self, *judged: Observation) -> None:
        super().__init__(judged)
        self.writing, self.released = threading.Event(), threading.Event()

    def __iter__(self) -> Iterator[Observation]:
        self.writing.set()
        self.released.wait(60)
        return super().__iter__()


def test_a_scrape_does_not_wait_for_the_ledger(bench: Bench) -> None:
    labels = {"bus": "fedora", "topic": COPR, "outcome": "handled", "reason": ""}
    batch = Stuck(Observation(Series(**labels), "1", NOW))
    thread = threading.Thread(target=bench.ledger.record, args=(batch,))
    thread.start()
    try:
        assert batch.writing.wait(60)
        assert bench.value("busmon_messages_total", **labels) == 0
        assert not batch.released.is_set()
    finally:
        batch.released.set()
        thread.join()
    assert bench.value("busmon_messages_total", **labels) == 1


def test_counting_goes_on_while_metrics_are_scraped(bench: Bench) -> None:
    """Each scrape is consistent: no bucket above the count, no counter that goes back."""
    batches = [[message(f"{n}-{i}", sent_at=NOW - i) for i in range(20)] for n in range(50)]

    def record() -> None:
        for batch in batches:
            count(bench.pipeline, batch)

    thread = threading.Thread(target=record)
    thread.start()
    seen = []
    while thread.is_alive():
        families = {f.name: f for f in parse_text(generate_latest(bench.registry).decode())}
        samples = families["busmon_stage_delay_seconds"].samples
        labels = {"bus": "fedora", "stage": "bus"}
        fedora = [
            s.value for s in samples if "le" in s.labels and labels.items() <= s.labels.items()
        ]
        assert fedora == sorted(fedora)
        seen.append(fedora[-1])
    assert seen == sorted(seen)
    assert bench.value("busmon_stage_delay_seconds_count", bus="fedora", stage="bus") == 1000


def test_without_connections_only_messages_are_counted(bench: Bench) -> None:
    """As a replay does, which pushes the metrics and not those of its process."""
    metrics = Metrics(bench.ledger, {}, "1.2.3")
    metrics.observe(Recorded(judged(1, at=time.time()), 0, 0.1))
    registry = CollectorRegistry()
    registry.register(metrics)
    names = {family.name for family in registry.collect() if family.samples}
    assert {"busmon_messages", "busmon_message_size_bytes"} <= names
    assert not {name for name in names if name.startswith(("process_", "busmon_bus"))}
