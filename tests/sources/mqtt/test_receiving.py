"""Every message once, from a real Mosquitto."""

import threading
from collections import Counter
from collections.abc import Sequence

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from busmon.message import Message
from busmon.sources.base import Cause
from tests.support.brokers import wait_until
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.mqtt import (
    VERSIONS,
    numbered,
    running,
    settings,
)
from tests.support.sources import Failing, Gate, Recorder, failing_once, once, wait_for_problem

pytestmark = pytest.mark.usefixtures("patient_end")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_message_is_received_once(mosquitto: Mosquitto, root: str, version: str) -> None:
    recorder = Recorder()
    with running(settings(mosquitto, root, version=version), recorder) as source:
        mosquitto.publish(numbered(root, range(5000)))
        recorder.wait_for(5000)
        assert (source.connection.connects, source.connection.problem()) == (1, None)
    assert recorder.numbers() == once(5000)
    assert recorder.duplicates == 0
    for message in recorder.counted:
        n = message.get("n")
        assert (message.bus, message.topic) == ("centos", f"{root}/pull-request.{n % 7}")
        assert message.size == len(f'{{"n": {n}}}')
        assert (message.sent_at, message.rejected, message.redelivered) == (None, None, False)


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_is_lost_while_nothing_can_be_recorded(
    mosquitto: Mosquitto, root: str, version: str
) -> None:
    recorder = Recorder()
    with running(settings(mosquitto, root, version=version), recorder) as source:
        recorder.failing = True
        mosquitto.publish(numbered(root, [0]), qos=0)  # no broker will send it again
        wait_until(lambda: source.connection.disconnects[Cause.LEDGER], what="the disconnection")
        mosquitto.publish(numbered(root, range(1, 1000)))
        wait_until(lambda: source.connection.failures[Cause.LEDGER], what="another try")
        wait_for_problem(source, "ledger: disk full")
        recorder.failing = False
        recorder.wait_for(1000)
    assert recorder.numbers() == once(1000)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_acknowledged_before_a_failed_write_does_not_come_again(
    mosquitto: Mosquitto, root: str, version: str
) -> None:
    recorder = Failing()
    with running(settings(mosquitto, root, version=version), recorder) as source:
        mosquitto.publish(numbered(root, range(20_000)))
        recorder.wait_for(20_000)
        assert source.connection.disconnects[Cause.LEDGER] > 1
    assert recorder.numbers() == once(20_000)
    assert recorder.duplicates == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_a_bug_is_survived_and_loses_nothing(mosquitto: Mosquitto, root: str, version: str) -> None:
    """Nor is anything of QoS 0 lost that was judged before, but not recorded yet."""
    recorder, first, others = Recorder(), threading.Event(), threading.Event()

    def waiting_for_others(batch: Sequence[Message]) -> None:
        recorder(batch)
        first.set()
        assert others.wait(30)

    handler = failing_once(waiting_for_others, "judge", at=2)
    with running(settings(mosquitto, root, version=version), handler) as source:
        mosquitto.publish(numbered(root, [0]))
        assert first.wait(30)
        mosquitto.publish(numbered(root, [1]), qos=0)
        mosquitto.publish(numbered(root, range(2, 100)))
        others.set()
        recorder.wait_for(100)
        assert source.connection.disconnects[Cause.ERROR] == 1
    assert recorder.numbers() == once(100)


def test_what_is_lost_because_it_was_never_recorded_is_reported(
    mosquitto: Mosquitto, root: str, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    with running(settings(mosquitto, root), recorder) as source:
        recorder.failing = True
        mosquitto.publish(numbered(root, [0]), qos=0)
        wait_for_problem(source, "ledger: disk full")
    assert "centos: messages of QoS 0 that are lost: 1" in caplog.messages


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_recorded_but_not_acknowledged_is_not_counted_again(
    mosquitto: Mosquitto, root: str, version: str
) -> None:
    recorder = Recorder()
    bus = settings(mosquitto, root, version=version)
    with running(bus, recorder) as source:
        recorder.crashing = True
        mosquitto.publish(numbered(root, range(1000)))
        wait_until(lambda: source.connection.disconnects[Cause.LEDGER], what="the crash")
    recorder.crashing = False
    known = len(recorder.counted)
    before = recorder.duplicates  # of a second crash, where it was not stopped soon enough
    assert known
    with running(bus, recorder):
        wait_until(lambda: len(recorder.counted) + recorder.duplicates >= 1000 + known + before)
    assert recorder.numbers() == once(1000)
    assert recorder.duplicates == known + before


def test_stopped_in_mid_stream_it_continues_where_it_stopped(
    mosquitto: Mosquitto, root: str
) -> None:
    recorder = Recorder()
    bus = settings(mosquitto, root)
    with running(bus, recorder):
        pass
    mosquitto.publish(numbered(root, range(5000)))
    gate = Gate(recorder)  # else a slow test sees nothing before the end of the stream
    with running(bus, gate, connected=False) as source:
        assert gate.reached.wait(30)
        source.stop()
        gate.open.set()
    runs = 1
    while len(recorder.counted) < 5000:
        with running(bus, recorder, connected=False):
            recorder.wait_for(len(recorder.counted) + 1)
        runs += 1
    assert recorder.numbers() == once(5000)
    assert runs > 1


def test_the_same_content_sent_twice_is_two_messages(mosquitto: Mosquitto, root: str) -> None:
    recorder = Recorder()
    with running(settings(mosquitto, root), recorder):
        mosquitto.publish([(f"{root}/a", b'{"n": 0}')] * 100)
        mosquitto.publish([(f"{root}/a", b'{"n": 0}')] * 100, qos=0)
        recorder.wait_for(200)
    assert recorder.numbers() == Counter({0: 200})


@pytest.mark.parametrize("version", VERSIONS)
def test_what_another_client_subscribed_to_with_qos_2_is_counted_too(
    mosquitto: Mosquitto, root: str, version: str
) -> None:
    """busmon asks for 1 at most, but the broker keeps what it had queued in the session."""
    subscribe(mosquitto, root, qos=2)
    mosquitto.publish(numbered(root, range(100)), qos=2)
    recorder = Recorder()
    with running(settings(mosquitto, root, version=version), recorder):
        recorder.wait_for(100)
        mosquitto.publish(numbered(root, range(100, 200)))
        recorder.wait_for(200)
    with running(settings(mosquitto, root, version=version), recorder):
        mosquitto.publish(numbered(root, [200]))
        recorder.wait_for(201)
    assert recorder.numbers() == once(201)
    assert recorder.duplicates == 0


def subscribe(mosquitto: Mosquitto, root: str, qos: int) -> None:
    """Make the session of this test's client, without busmon."""
    other = paho.Client(CallbackAPIVersion.VERSION2, client_id=root, clean_session=False)

    def on_connect(*_: object) -> None:
        other.subscribe(f"{root}/#", qos)

    def on_subscribe(*_: object) -> None:
        other.disconnect()

    other.on_connect, other.on_subscribe = on_connect, on_subscribe
    other.connect("127.0.0.1", mosquitto.port)
    other.loop_forever()


@pytest.mark.parametrize(("version", "duplicates"), [("3.1.1", 2), ("5", 0)])
def test_a_retained_message_is_counted_once(
    mosquitto: Mosquitto, root: str, version: str, duplicates: int
) -> None:
    """With MQTT 5 it does not even come again where the broker kept the session."""
    recorder = Recorder()
    mosquitto.publish(numbered(root, range(2)), retain=True)
    for expected in (2, 3):
        with running(settings(mosquitto, root, version=version), recorder):
            mosquitto.publish(numbered(root, [expected]))
            recorder.wait_for(expected + 1)
    mosquitto.publish([(f"{root}/pull-request.{n}", b"") for n in range(2)], retain=True)
    assert len(recorder.counted) == 4
    assert recorder.duplicates == duplicates
