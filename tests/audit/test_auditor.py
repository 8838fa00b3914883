"""The auditor's metrics."""

from collections.abc import Iterator

from busmon.audit.auditor import Auditor
from busmon.audit.scope import Observed
from tests.support.audit import AUDIT, BUS, BY_IDS, BY_NUMBERS, NOW, STAGES, AuditBench


def samples(
    bench: AuditBench, observed: Observed = BY_IDS
) -> Iterator[tuple[tuple[str, ...], float]]:
    """Yield each sample's name and labels, and its value."""
    for family in Auditor(AUDIT, observed, bench.ledger, 3600, [BUS]).collect():
        for sample in family.samples:
            name = sample.name.removeprefix("busmon_audit_")
            yield (name, *sample.labels.values()), sample.value


def test_every_series_of_a_known_topic_starts_at_zero(bench: AuditBench) -> None:
    bench.receive("1", at=NOW - 3000)
    bench.receive("2", at=NOW - 3000, topic="b", handled=False)
    expected: set[tuple[str, ...]] = {("messages_total", BUS, "a", stage) for stage in STAGES}
    for name in ("missing_total", "recovered_total"):
        expected |= {(name, BUS, "a", stage) for stage in STAGES[1:]}
    expected |= {("unexpected_total", BUS, topic, "listener") for topic in ("a", "b")}
    expected |= {("no_data_windows_total", BUS, stage) for stage in STAGES}
    found = dict(samples(bench))
    assert {series for series, value in found.items() if value == 0} == expected
    assert {series for series, value in found.items() if value == 1} == {
        ("exact", BUS, stage) for stage in STAGES
    }
    assert found["last_closed_timestamp_seconds",] == NOW


def test_series_of_topics_that_are_no_longer_known_stay(bench: AuditBench) -> None:
    bench.receive("1")
    bench.close(NOW + 12)
    found = dict(samples(bench))
    assert found["messages_total", BUS, "a", "bus"] == 1
    assert found["missing_total", BUS, "a", "listener"] == 1
    assert found["recovered_total", BUS, "a", "listener"] == 0


def test_missing_by_numbers_can_be_subtracted(bench: AuditBench) -> None:
    """Rules and panels subtract `recovered`, which needs the same series."""
    found = dict(samples(bench, BY_NUMBERS))
    for name in ("missing_total", "recovered_total"):
        assert [(*series, value) for series, value in found.items() if series[0] == name] == [
            (name, BUS, "", "listener", 0)
        ]
    assert (found["exact", BUS, "bus"], found["exact", BUS, "listener"]) == (1, 0)
