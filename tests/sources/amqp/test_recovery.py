"""A broker that fails, goes silent or forgets."""

import socket
import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing

import pika
import pytest

from busmon.message import Message
from busmon.sources.amqp import session
from busmon.sources.amqp.source import AmqpSource
from busmon.sources.base import Cause
from tests.support.amqp import Bus, settings, slowly
from tests.support.brokers import wait_until
from tests.support.brokers.proxy import Proxy
from tests.support.brokers.rabbitmq import EXCHANGE
from tests.support.sources import (
    Gate,
    Recorder,
    once,
    running,
    wait_for_problem,
)


@pytest.mark.usefixtures("patient_end")
def test_a_broker_restarted_and_killed_in_mid_stream_and_down_at_start(bus: Bus) -> None:
    recorder, stopped, killed = Recorder(), threading.Event(), threading.Event()

    def record(batch: Sequence[Message]) -> None:
        slowly(recorder)(batch)
        for number, event in ((1000, stopped), (2000, killed)):  # else the stream may be over
            if len(recorder.counted) >= number:
                assert event.wait(300)

    broker, where = bus.broker, f"network: localhost:{bus.broker.amqps_port}: "
    with running(bus.source(), recorder):
        pass
    bus.numbered(range(3000))
    try:
        with running(bus.source(prefetch=5), record) as source:
            recorder.wait_for(100)
            broker.stop()
            stopped.set()
            wait_for_problem(source, where + "Connection refused")
            broker.start()
            recorder.wait_for(len(recorder.counted) + 100)
            assert (source.connection.connects, source.connection.disconnects[Cause.NETWORK]) == (
                2,
                1,
            )
            broker.kill()
            killed.set()
            wait_until(lambda: not source.connection.connected, what="the kill to be noticed")
            assert len(recorder.counted) < 2900
        with running(bus.source(), recorder, connected=False) as source:
            wait_for_problem(source, where + "Connection refused")
            broker.start()
            recorder.wait_for(3000)
            assert (source.connection.connects, source.connection.disconnects.total()) == (1, 0)
    finally:
        if not broker.server.running:
            broker.start()
    assert recorder.numbers() == once(3000)
    assert bus.waiting() == 0


@pytest.mark.usefixtures("patient_end")
@pytest.mark.parametrize("tls", [True, False])
def test_a_connection_cut_or_closed_in_mid_stream_recovers(bus: Bus, tls: bool) -> None:
    recorder = Recorder()
    with Proxy(bus.broker.amqps_port if tls else bus.broker.amqp_port) as proxy:
        source = bus.source(prefetch=5, tls=tls, port=proxy.port)
        with running(source, slowly(recorder)):
            bus.numbered(range(2000))
            recorder.wait_for(100)
            proxy.cut()
            wait_until(lambda: source.connection.connects == 2, what="the connection")
            bus.broker.close_connections()
            wait_until(lambda: source.connection.connects == 3, what="the connection")
            recorder.wait_for(2000)
            assert +source.connection.disconnects == {Cause.NETWORK: 2}
    assert recorder.numbers() == once(2000)
    assert bus.waiting() == 0


@pytest.mark.usefixtures("patient_end")
@pytest.mark.parametrize("tls", [True, False])
def test_a_connection_gone_silent_in_mid_stream_recovers(
    bus: Bus, tls: bool, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    with Proxy(bus.broker.amqps_port if tls else bus.broker.amqp_port) as proxy:
        source = bus.source(prefetch=5, heartbeat=1, tls=tls, port=proxy.port)
        with running(source, slowly(recorder)):
            bus.numbered(range(1000))
            recorder.wait_for(100)
            # On a busy machine the broker may have been silent before.
            wait_until(lambda: source.connection.connected, what="the connection")
            before = source.connection.disconnects[Cause.SILENT]
            proxy.swallow()
            wait_for_problem(source, "silent: *")
            silences = source.connection.disconnects
            wait_until(lambda: silences[Cause.SILENT] > before, what="the count")
            assert silences[Cause.SILENT] == before + 1
            proxy.heal()
            recorder.wait_for(1000)
    assert "fedora: silent: no sign of life from the broker; " in caplog.text
    assert recorder.numbers() == once(1000)
    assert bus.waiting() == 0


def test_a_broker_that_answers_nothing_is_reported(bus: Bus) -> None:
    """Neither to TCP, nor to AMQP."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf, ExitStack() as stack:
        port = deaf.getsockname()[1]
        for _ in range(2):  # the queue of connections is full, so no more are answered
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        config = bus.broker.fedora_toml(bus.directory / "deaf.toml", tls=False, port=port)
        source = AmqpSource("fedora", settings(config), bus.queue)
        with running(source, Recorder(), connected=False):
            wait_for_problem(source, "silent: *: no answer")
    with Proxy(bus.broker.amqps_port) as proxy:
        proxy.swallow()
        with running(bus.source(port=proxy.port), Recorder(), connected=False) as source:
            wait_for_problem(source, "silent: *: no answer in the TLS handshake: check *")
    with Proxy(bus.broker.amqp_port) as proxy:
        proxy.swallow()
        mute = bus.source(tls=False, heartbeat=1, port=proxy.port)
        with running(mute, Recorder(), connected=False):
            wait_for_problem(mute, "silent: no sign of life from the broker")


def test_it_stops_even_if_the_broker_has_just_gone_silent(bus: Bus) -> None:
    with Proxy(bus.broker.amqps_port) as proxy, running(bus.source(port=proxy.port), Recorder()):
        proxy.swallow()


def test_a_deleted_queue_is_made_again_and_its_messages_are_recorded(bus: Bus) -> None:
    recorder = Recorder()
    gate = Gate(recorder)
    with running(bus.source(), recorder):
        pass
    bus.numbered(range(100))
    with running(bus.source(), gate) as source:
        assert gate.reached.wait(60)
        wait_until(lambda: bus.broker.queue_count(bus.queue) == 0, what="all to be delivered")
        bus.broker.delete_queue(bus.queue)
        gate.open.set()
        wait_until(lambda: source.connection.disconnects[Cause.CANCELLED], what="the cancellation")
        wait_until(lambda: source.connection.connected, what="the connection")
        bus.numbered(range(100, 200))
        recorder.wait_for(200)
        assert bus.broker.bindings(bus.queue) == {f"{bus.root}.#"}
        assert source.connection.forgotten == 1
    assert recorder.numbers() == once(200)


def test_a_queue_that_the_broker_forgot_while_busmon_was_away_is_reported(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    config = bus.broker.fedora_toml(bus.directory / "away.toml", bindings=[f"{bus.root}.#"])
    forgotten = []
    for received, delete in ((False, False), (True, False), (True, True)):
        if delete:
            bus.broker.delete_queue(bus.queue)
        source = AmqpSource("fedora", settings(config), bus.queue, received=received)
        with running(source, Recorder()):
            forgotten.append(source.connection.forgotten)
    assert forgotten == [0, 0, 1]
    lost = f"fedora: the broker had no queue {bus.queue} any more, and kept no message in it"
    assert caplog.messages.count(lost) == 1


def test_a_binding_that_somebody_removed_is_made_again(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "BIND_SECONDS", 0.5)
    recorder, key = Recorder(), f"{bus.root}.#"
    with running(bus.source(), recorder):
        with closing(pika.BlockingConnection(pika.URLParameters(bus.broker.admin_url))) as other:
            other.channel().queue_unbind(bus.queue, EXCHANGE, key)
        wait_until(lambda: bus.broker.bindings(bus.queue) == {key}, what="the binding")
        bus.numbered(range(20))
        recorder.wait_for(20)
    assert recorder.numbers() == once(20)
