"""What cannot be recorded is not acknowledged."""

import logging
import threading
from uuid import uuid4

import pytest

from busmon.sources.base import Cause
from tests.support.amqp import Bus
from tests.support.brokers import wait_until
from tests.support.sources import (
    AsTheyAre,
    Gate,
    Recorder,
    failing_once,
    once,
    running,
    wait_for_problem,
)

pytestmark = pytest.mark.usefixtures("patient_end")


def test_nothing_is_acknowledged_while_nothing_can_be_recorded(bus: Bus) -> None:
    recorder = Recorder()
    with running(bus.source(), recorder) as source:
        recorder.failing = True
        bus.numbered(range(1000))
        wait_until(lambda: source.connection.failures[Cause.LEDGER], what="another attempt")
        wait_for_problem(source, "ledger: disk full")
    assert not recorder.counted
    assert bus.waiting() == 1000
    recorder.failing = False
    with running(bus.source(), recorder):
        recorder.wait_for(1000)
    assert recorder.numbers() == once(1000)
    assert bus.waiting() == 0


def test_what_was_recorded_but_not_acknowledged_is_not_counted_again(bus: Bus) -> None:
    recorder = Recorder()
    recorder.crashing = True
    with running(bus.source(), recorder) as source:
        bus.numbered(range(1000))
        wait_until(lambda: source.connection.disconnects[Cause.LEDGER], what="the crash")
        recorder.crashing = False
        recorder.wait_for(1000)
    assert recorder.numbers() == once(1000)
    assert recorder.duplicates > 0


@pytest.mark.parametrize(("what", "at"), [("judge", 20), ("record", 0)])
def test_a_bug_is_logged_and_survived(
    bus: Bus, caplog: pytest.LogCaptureFixture, what: str, at: int
) -> None:
    recorder = Recorder()
    with running(bus.source(), failing_once(recorder, what, at)) as source:
        bus.numbered(range(100))
        recorder.wait_for(100)
        assert source.connection.disconnects[Cause.ERROR] == 1
    assert recorder.numbers() == once(100)
    logged = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.getMessage() for record in logged] == ["fedora: unexpected error"]
    caplog.clear()  # no_noise shall not find it


def test_stopped_with_a_batch_in_hand_it_records_and_acknowledges_it(bus: Bus) -> None:
    recorder = Recorder()
    gate = Gate(recorder)
    with running(bus.source(), recorder):
        pass
    bus.numbered(range(1000))
    source = bus.source()
    thread = threading.Thread(target=source.run, args=(AsTheyAre(gate),))
    thread.start()
    assert gate.reached.wait(60)
    source.stop()
    gate.open.set()
    thread.join(60)
    assert not thread.is_alive()
    assert 0 < len(recorder.counted) <= 200
    assert bus.waiting() == 1000 - len(recorder.counted)
    with running(bus.source(), recorder):
        recorder.wait_for(1000)
    assert (recorder.numbers(), recorder.duplicates) == (once(1000), 0)


def test_a_bus_that_hangs_holds_up_no_other(bus: Bus) -> None:
    gate, recorder = Gate(Recorder()), Recorder()
    other = Bus(bus.broker, bus.directory, f"{bus.root}-other", str(uuid4()))
    with running(bus.source(), gate), running(other.source(), recorder):
        bus.numbered([0])
        assert gate.reached.wait(60)
        other.numbered(range(100))
        recorder.wait_for(100)
        gate.open.set()
