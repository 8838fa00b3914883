"""Whether it is the publisher's, the bus's, the connection's or busmon's own fault."""

from pathlib import Path

import pytest

from busmon.diagnosis.verdict import FaultKind
from busmon.diagnosis.watcher import STALE_SECONDS
from busmon.ledger.errors import LedgerWriteError
from busmon.sources.base import Cause
from tests.ledger.sql import foreign_writer
from tests.support.diagnosis import Bench

DAY = 86400.0


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        ({"a": 60, "b": 60}, FaultKind.NONE),
        ({"a": 2 * DAY, "b": 60}, FaultKind.PUBLISHER),
        ({"a": 2 * DAY, "b": 2 * DAY}, FaultKind.BUS),
        ({"a": 2 * DAY, "b": 2 * DAY, "c": 60}, FaultKind.PUBLISHER),
    ],
)
def test_silent_topics_are_a_publishers_fault_or_the_buss(
    last: dict[str, float], kind: FaultKind
) -> None:
    bench = Bench()
    for topic, seconds in last.items():
        bench.past(topic, seconds)
    bench.silence.learn(bench.now)
    assert bench.refresh().kind is kind
    bench.ledger.close()


def test_a_rare_topic_that_is_not_silent_yet_does_not_hide_that_the_bus_is() -> None:
    bench = Bench()
    bench.past("busy", 5 * 3600)
    bench.past("as busy", 5 * 3600)
    bench.silence.learn(bench.now)
    verdict = bench.refresh()
    assert verdict.kind is FaultKind.BUS
    assert verdict.evidence[0].startswith("connected, but no message of any topic")
    bench.ledger.close()


def test_a_lost_connection_is_the_buss_fault_or_busmons_own() -> None:
    bench = Bench()
    for cause, kind in (
        (Cause.NETWORK, FaultKind.CONNECTION),
        (Cause.LEDGER, FaultKind.BUSMON),
        (Cause.ERROR, FaultKind.BUSMON),
        (Cause.HUNG, FaultKind.BUSMON),
    ):
        bench.connection.down(cause, "detail")
        verdict = bench.refresh()
        assert verdict.kind is kind
        assert verdict.evidence[0].endswith(f"{cause}: detail")
    bench.connection.up()
    assert bench.refresh().kind is FaultKind.NONE
    bench.ledger.close()


def test_a_verdict_is_known_since_it_was_first_seen() -> None:
    bench = Bench()
    begun = bench.now
    assert bench.refresh(10).since == begun
    bench.connection.down(Cause.NETWORK, "refused")
    assert bench.refresh(10).since == begun + 20
    bench.connection.down(Cause.NETWORK, "no route")
    assert bench.refresh(10).since == begun + 20, "the same fault, with other evidence"
    bench.connection.up()
    assert bench.refresh(10).since == begun + 40
    bench.ledger.close()


def test_after_a_restart_it_says_what_it_does_not_know_yet(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    before = Bench(path=path)
    before.connection.down(Cause.NETWORK, "refused")
    before.refresh(10)
    before.watch.incidents.write()
    before.ledger.close()
    bench = Bench(path=path, now=before.now + 60)
    text = "whether the verdict connection, since 2026-"
    found = [any(text in line for line in bench.refresh(after).evidence) for after in (0, 50, 10)]
    assert found == [True, True, False]
    bench.ledger.close()


def test_a_ledger_that_cannot_be_written_blinds_busmon(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    bench = Bench(path=path)
    with foreign_writer(path), pytest.raises(LedgerWriteError):
        bench.receive(1)
    bench.watch.refresh()
    verdict = bench.verdict()
    assert verdict.kind is FaultKind.BUSMON
    assert verdict.evidence == ("busmon itself does not work: ledger: database is locked",)
    bench.ledger.close()


def test_a_silence_watch_that_stopped_is_busmons_fault() -> None:
    bench = Bench()
    bench.now += STALE_SECONDS + 1
    assert bench.verdict().kind is FaultKind.BUSMON
    assert bench.refresh().kind is FaultKind.NONE
    bench.ledger.close()
