"""/metrics: what is exposed of the ledger, the connections and the batches."""

import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from pydantic import SecretStr

from busmon.audit.auditor import Auditor
from busmon.audit.scope import Observed
from busmon.diagnosis.bus import Parts
from busmon.diagnosis.watcher import VerdictWatcher
from busmon.ledger.batch import Observation, Series
from busmon.ledger.errors import LedgerWriteError
from busmon.ledger.ledger import Ledger, Recorded
from busmon.message import Judgement, Message, Outcome
from busmon.metrics.collector import Metrics, make_registry
from busmon.observers.base import Observer, ObserverMetrics
from busmon.observers.celery import CeleryObserver, CelerySettings
from busmon.observers.ready import ReadyObserver, ReadySettings
from busmon.observers.tap import TapObserver
from busmon.pipeline import OTHER, Pipeline
from busmon.rules import Rules, rule_set
from busmon.settings.audit import Audit, Silence
from busmon.silence.blind_time import BlindTime
from busmon.silence.metrics import SilenceMetrics
from busmon.silence.rates import WEEK_HOURS
from busmon.silence.watcher import SilenceWatcher
from busmon.sources.base import Cause, ConnectionState
from busmon.threads import Threads
from busmon.web.server import ClosedConnections
from busmon.web.sharing import Sharing
from tests.ledger.past import past
from tests.ledger.sql import foreign_writer
from tests.support.brokers import wait_until
from tests.support.brokers.redis import Redis
from tests.support.ledgers import judged
from tests.support.sources import count
from tests.support.threads import running

DOCUMENTED = Path(__file__).parents[2] / "config/prometheus/METRICS.md"
COPR = "org.fedoraproject.prod.copr.build.end"
NOT_JSON = Judgement(Outcome.INVALID, "not-json")
NOW = 1_700_000_000.0


class Bench:
    """All that counts, without a broker: one bus `fedora` and one `centos`."""

    def __init__(self, path: str, broker: str = "redis://localhost") -> None:
        self.ledger = Ledger(path)
        self.connections = {"fedora": ConnectionState(), "centos": ConnectionState()}
        metrics = Metrics(self.ledger, self.connections, "1.2.3", 1024**3)
        rule_sets = {"fedora": rule_set("packit", Rules()), "centos": rule_set("centos", Rules())}
        blind = BlindTime(self.ledger, self.connections, NOW)
        self.silence = SilenceWatcher(Silence(), self.ledger, rule_sets, blind)
        ready = ReadyObserver(ReadySettings(bus="fedora", url="http://localhost"), self.ledger)
        self.celery = CeleryObserver(
            CelerySettings(bus="fedora", broker=SecretStr(broker)), self.ledger
        )
        watching: list[Observer] = [TapObserver(self.ledger, "fedora"), ready, self.celery]
        observers = ObserverMetrics(watching)
        silence = SilenceMetrics(self.silence, blind, lambda: NOW)
        settings, observed = Audit(), Observed(tap="fedora")
        audit = Auditor(settings, observed, self.ledger, 7 * 86400, list(self.connections))
        parts = Parts(self.ledger, self.connections, blind, self.silence, watching, audit)
        verdicts = VerdictWatcher(settings, parts, Threads(), lambda: NOW)
        web = Sharing(), ClosedConnections()
        self.registry = make_registry(metrics, silence, observers, audit, verdicts, *web)
        rejections = {"fedora": [NOT_JSON], "centos": []}
        self.pipeline = Pipeline(self.ledger, rule_sets, rejections, 1, metrics.observe)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def number(self, name: str, **labels: str) -> float:
        value = self.value(name, **labels)
        assert value is not None, name
        return value


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(":memory:")
    yield bench
    bench.ledger.close()


def message(identity: str, topic: str = COPR, **values: Any) -> Message:
    usual: dict[str, Any] = {"bus": "fedora", "received_at": NOW, "body": {"user": "packit"}}
    return Message(**usual | values, id=identity, topic=topic)


def busy(bench: Bench) -> Bench:
    """Let something have happened everywhere."""
    count(
        bench.pipeline,
        [
            message("1", sent_at=NOW - 2, size=3000),
            message("1"),
            message("2", body={"user": "somebody"}),
            message("3", rejected=NOT_JSON),
            message("4", 'un"known\\\n'),
            message("5", "unknown too"),
            message("6", "git.centos.org/pull-request.new", bus="centos"),
        ],
    )
    bench.connections["fedora"].up()
    bench.connections["fedora"].down(Cause.SILENT, "no heartbeat")
    bench.connections["centos"].down(Cause.TLS, "certificate verify failed")
    return bench


def learned(bench: Bench) -> Bench:
    """Let there be a past from which a baseline was learned, too."""
    hours = range(int(NOW // 3600) - 5 * WEEK_HOURS, int(NOW // 3600))
    past(bench.ledger, Series("fedora", COPR, "handled", ""), dict.fromkeys(hours, 2), NOW - 9)
    busy(bench)
    bench.silence.learn(NOW)
    return bench


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
    with running(bench.celery.run):
        wait_until(bench.celery.lengths, what="the observer to measure the queue")
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


@pytest.mark.parametrize("state", [idle, busy])
def test_both_formats_say_the_same(bench: Bench, state: Callable[[Bench], Bench]) -> None:
    text = generate_latest(state(bench).registry).decode()
    modern = openmetrics.generate_latest(bench.registry).decode()  # type: ignore[no-untyped-call]

    def samples(families: Iterable[Metric]) -> list[tuple[str, list[tuple[str, str]], float]]:
        found = [sample for family in families for sample in family.samples]
        found = [s for s in found if not s.name.startswith("process_")]
        return sorted((s.name, sorted(s.labels.items()), s.value) for s in found)

    assert samples(parse_openmetrics(modern)) == samples(parse_text(text))  # type: ignore[no-untyped-call]


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
        assert bench.value("busmon_topics_folded_total", bus=bus) == 0
        assert bench.value("busmon_bus_connected", bus=bus) == 0
        assert bench.value("busmon_message_delay_seconds_count", bus=bus) == 0
        assert bench.value("busmon_message_size_bytes_count", bus=bus) == 0
        for cause in Cause:
            assert bench.value("busmon_bus_disconnects_total", bus=bus, reason=cause) == 0
            assert bench.value("busmon_bus_connect_failures_total", bus=bus, reason=cause) == 0
    for reason in ("age", "size"):
        assert bench.value("busmon_ledger_pruned_rows_total", reason=reason) == 0


def test_each_message_is_in_one_series(bench: Bench) -> None:
    busy(bench)
    counted = {
        tuple(sample.labels[label] for label in ("bus", "topic", "outcome", "reason"))
        for family in parse_text(generate_latest(bench.registry).decode())
        for sample in family.samples
        if sample.name == "busmon_messages_total" and sample.value == 1
    }
    assert counted == {
        ("fedora", COPR, "handled", ""),
        ("fedora", COPR, "ignored", "not-packit-user"),
        ("fedora", COPR, "invalid", "not-json"),
        ("fedora", 'un"known\\\n', "unmapped", ""),
        ("fedora", OTHER, "unmapped", ""),
        ("centos", "git.centos.org/pull-request.new", "handled", ""),
    }
    assert bench.value("busmon_duplicates_total", bus="fedora") == 1
    assert bench.value("busmon_topics_folded_total", bus="fedora") == 1


def test_counters_continue_over_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    first = busy(Bench(path))
    first.ledger.close()
    second = Bench(path)
    count(second.pipeline, [message("7"), message("1"), message("8", "folded")])
    labels = {"bus": "fedora", "topic": COPR, "outcome": "handled", "reason": ""}
    assert second.value("busmon_messages_total", **labels) == 2
    assert second.value("busmon_duplicates_total", bus="fedora") == 2
    assert second.value("busmon_topics_folded_total", bus="fedora") == 2
    assert second.value("busmon_ledger_rows") == 8
    assert second.number("busmon_ledger_size_bytes") > 0
    second.ledger.close()


def test_the_newest_message_of_a_topic_is_shown_for_any_outcome(bench: Bench) -> None:
    topic = {"bus": "fedora", "topic": COPR}
    received, sent = (f"busmon_last_message_{of}timestamp_seconds" for of in ("", "sent_"))
    assert bench.value(received, **topic) is None
    count(bench.pipeline, [message("1")])
    assert bench.value(received, **topic) == NOW
    assert bench.value(sent, **topic) is None
    count(bench.pipeline, [message("2", body={}, received_at=NOW + 9, sent_at=NOW + 8)])
    count(bench.pipeline, [message("3", received_at=NOW + 5, sent_at=NOW + 4)])
    assert bench.value(received, **topic) == NOW + 9
    assert bench.value(sent, **topic) == NOW + 8


def test_a_wild_time_of_sending_is_shown_only_until_the_next_message(bench: Bench) -> None:
    sent = "busmon_last_message_sent_timestamp_seconds"
    year_9999 = 253_370_764_800.0
    count(bench.pipeline, [message("1", body={}, sent_at=year_9999)])
    assert bench.value(sent, bus="fedora", topic=COPR) == year_9999
    count(bench.pipeline, [message("2", received_at=NOW + 1, sent_at=NOW)])
    assert bench.value(sent, bus="fedora", topic=COPR) == NOW


@pytest.mark.parametrize(
    ("sent_at", "counted"),
    [
        (NOW - 0.1, {"0.25": 1, "0.1": 1}),  # a bound is in its bucket
        (NOW - 0.2, {"0.25": 1, "0.1": 0}),
        (NOW - 86400, {"86400.0": 1, "21600.0": 0}),
        (NOW - 86401, {"+Inf": 1, "86400.0": 0}),
        (NOW + 30, {"0.1": 1}),  # the sender's clock is ahead
        (None, {"+Inf": 0}),
        (NOW - 91 * 86400, {"+Inf": 1, "86400.0": 0}),
        # More than 13 weeks are no delay: it would dwarf all others in the sum.
        (NOW - 91 * 86400 - 1, {"+Inf": 0}),
        (NOW + 91 * 86400 + 1, {"+Inf": 0}),
        (-62_135_596_800.0, {"+Inf": 0}),  # the year 1
        (float("-inf"), {"+Inf": 0}),
        (float("nan"), {"+Inf": 0}),
    ],
)
def test_a_delay_is_counted_in_its_bucket(sent_at: float | None, counted: dict[str, int]) -> None:
    metrics = Metrics(Ledger(":memory:"), {"fedora": ConnectionState()}, "1.2.3")
    registry = make_registry(metrics)
    metrics.observe(Recorded(judged(1, at=NOW, sent_at=sent_at), 0, 0.1))
    for bound, number in counted.items():
        labels = {"bus": "fedora", "le": bound}
        assert registry.get_sample_value("busmon_message_delay_seconds_bucket", labels) == number
    total = registry.get_sample_value("busmon_message_delay_seconds_sum", {"bus": "fedora"})
    assert total is not None
    assert 0 <= total <= 91 * 86400


def test_batches_and_sizes_are_counted(bench: Bench) -> None:
    busy(bench)
    assert bench.value("busmon_message_size_bytes_sum", bus="fedora") == 3000
    assert bench.value("busmon_message_size_bytes_bucket", bus="fedora", le="1024.0") == 4
    assert bench.value("busmon_message_size_bytes_bucket", bus="fedora", le="4096.0") == 5
    assert bench.value("busmon_batch_messages_sum") == 7
    assert bench.value("busmon_batch_messages_count") == 1
    assert bench.value("busmon_commit_duration_seconds_count") == 1
    assert bench.number("busmon_commit_duration_seconds_sum") > 0


def test_connections_are_counted_by_bus_and_cause(bench: Bench) -> None:
    busy(bench)
    assert bench.value("busmon_bus_connected", bus="fedora") == 0
    assert bench.value("busmon_bus_connects_total", bus="fedora") == 1
    assert bench.value("busmon_bus_disconnects_total", bus="fedora", reason="silent") == 1
    assert bench.value("busmon_bus_connect_failures_total", bus="centos", reason="tls") == 1
    bench.connections["fedora"].up()
    assert bench.value("busmon_bus_connected", bus="fedora") == 1


def test_pruned_messages_leave_the_record_and_are_counted(bench: Bench) -> None:
    busy(bench)
    bench.ledger.prune(NOW + 100, retention=50)
    assert bench.value("busmon_ledger_pruned_rows_total", reason="age") == 6
    assert bench.value("busmon_ledger_rows") == 0


def test_a_ledger_that_cannot_be_written_is_down_until_it_can(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    bench = Bench(str(path))
    assert bench.value("busmon_ledger_up") == 1
    with foreign_writer(path):
        with pytest.raises(LedgerWriteError):
            count(bench.pipeline, [message("1")])
        assert bench.value("busmon_ledger_up") == 0
    assert bench.value("busmon_ledger_up") == 0  # until the next write
    count(bench.pipeline, [message("1")])
    assert bench.value("busmon_ledger_up") == 1
    bench.ledger.close()


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
        samples = families["busmon_message_delay_seconds"].samples
        fedora = [s.value for s in samples if s.labels["bus"] == "fedora" and "le" in s.labels]
        assert fedora == sorted(fedora)
        seen.append(fedora[-1])
    assert seen == sorted(seen)
    assert bench.value("busmon_message_delay_seconds_count", bus="fedora") == 1000


def test_without_connections_only_messages_are_counted(bench: Bench) -> None:
    """As a replay does, which pushes the metrics and not those of its process."""
    metrics = Metrics(bench.ledger, {}, "1.2.3")
    metrics.observe(Recorded(judged(1, at=time.time()), 0, 0.1))
    registry = CollectorRegistry()
    registry.register(metrics)
    names = {family.name for family in registry.collect() if family.samples}
    assert {"busmon_messages", "busmon_message_size_bytes"} <= names
    assert not {name for name in names if name.startswith(("process_", "busmon_bus"))}
