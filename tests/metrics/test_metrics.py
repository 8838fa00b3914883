"""What is counted of the ledger, the connections and the batches."""

from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from busmon.ledger.errors import LedgerWriteError
from busmon.ledger.ledger import Ledger, Recorded
from busmon.metrics.collector import Metrics, make_registry
from busmon.pipeline import OTHER
from busmon.settings.models import Web
from busmon.sources.base import ConnectionState
from busmon.web.info import WebInfo
from tests.ledger.sql import foreign_writer
from tests.support.ledgers import judged
from tests.support.metrics import COPR, NOW, Bench, busy, message
from tests.support.sources import count


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
    assert bench.value("busmon_unknown_schema_total", bus="fedora") == 1  # came twice


def test_counters_continue_over_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    first = busy(Bench(path))
    first.ledger.close()
    second = Bench(path)
    count(second.pipeline, [message("7"), message("1"), message("8", "folded")])
    count(second.pipeline, [message("9", unknown_schema=True)])
    labels = {"bus": "fedora", "topic": COPR, "outcome": "handled", "reason": ""}
    assert second.value("busmon_messages_total", **labels) == 3
    assert second.value("busmon_duplicates_total", bus="fedora") == 2
    assert second.value("busmon_unknown_schema_total", bus="fedora") == 2
    assert second.value("busmon_topics_folded_total", bus="fedora") == 2
    assert second.value("busmon_ledger_rows") == 9
    assert second.number("busmon_ledger_size_bytes") > 0
    second.ledger.close()
    third = Bench(path)
    assert third.value("busmon_unknown_schema_total", bus="fedora") == 2
    third.ledger.close()


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
        labels = {"bus": "fedora", "stage": "bus", "le": bound}
        assert registry.get_sample_value("busmon_stage_delay_seconds_bucket", labels) == number
    labels = {"bus": "fedora", "stage": "bus"}
    total = registry.get_sample_value("busmon_stage_delay_seconds_sum", labels)
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


def test_the_pages_and_grafana_are_where_the_settings_say(bench: Bench) -> None:
    both = {"public_url": "https://host/busmon", "grafana_url": "https://grafana"}
    assert bench.value("busmon_web_info", **both) == 1
    for settings in (Web(grafana_url="https://grafana"), Web()):
        registry = make_registry(WebInfo(settings))
        of_grafana = {"public_url": "", "grafana_url": "https://grafana"}
        known = registry.get_sample_value("busmon_web_info", of_grafana)
        assert known == (1 if settings.grafana_url else None)


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
