"""A broker that fails, goes silent or loses a queue."""

import socket
import threading
from collections.abc import Sequence
from contextlib import suppress

import pytest

from busmon.message import Message
from busmon.sources.base import Cause
from tests.support.brokers import free_port, wait_until
from tests.support.brokers.activemq import ActiveMQ, Publisher
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.proxy import Proxy
from tests.support.brokers.rabbitmq import USER as RABBIT_USER
from tests.support.brokers.rabbitmq import VHOST, RabbitMQ
from tests.support.pretenders import secret_of
from tests.support.sources import Recorder, once
from tests.support.stomp import (
    BEAT,
    Broker,
    both_brokers,
    bus,
    numbered,
    running,
    subscribed,
    with_tls,
)


@pytest.mark.parametrize(
    ("broker", "how"),
    [("activemq", "stop"), ("activemq", "kill"), ("rabbitmq", "kill")],
    indirect=["broker"],
)
def test_a_broker_that_ends_in_mid_stream_loses_and_doubles_nothing(
    broker: Broker, how: str
) -> None:
    topic = f"/topic/test.restarted.{how}"
    recorder, halfway, ended = Recorder(), threading.Event(), threading.Event()

    def record(batch: Sequence[Message]) -> None:
        recorder(batch)
        if len(recorder.counted) > 1000:
            halfway.set()
            assert ended.wait(300)  # so that this batch can't be acknowledged

    watched = bus(broker.port, topic, client_id=f"restarted-{how}", prefetch=50, **broker.settings)
    with running(watched, record) as source:
        with broker.publisher() as publisher:
            publisher.send(topic, *numbered(range(3000)))
            assert halfway.wait(60)
            getattr(broker, how)()
        ended.set()
        wait_until(lambda: not source.connection.connected, what="the source to notice")
        broker.start()
        recorder.wait_for(3000)
        with broker.publisher() as publisher:
            publisher.send(topic, {"n": 3000})
        recorder.wait_for(3001)
    assert recorder.numbers() == once(3001)
    assert recorder.duplicates > 0
    assert +source.connection.disconnects == {Cause.NETWORK: 1}


def test_a_source_that_starts_before_its_broker_connects_when_it_comes(
    activemq: ActiveMQ,
) -> None:
    activemq.terminate()
    try:
        with running(bus(activemq.port), Recorder(), connected=False) as source:
            wait_until(lambda: source.connection.failures[Cause.NETWORK])
            assert "refused" in str(source.connection.problem())
            activemq.start()
            wait_until(lambda: source.connection.connected)
    finally:
        if not activemq.running:
            activemq.start()


def test_if_a_broker_fails_the_next_one_is_taken(activemq: ActiveMQ) -> None:
    recorder = Recorder()
    with Proxy(activemq.port) as first, Proxy(activemq.port) as second:
        ports = (free_port(), first.port, second.port)
        brokers = [f"127.0.0.1:{port}" for port in ports]
        settings = bus(0, "/topic/test.failover", brokers=brokers, client_id="failover")
        with running(settings, recorder) as source, Publisher(activemq.port) as publisher:
            publisher.send("/topic/test.failover", {"n": 1})
            recorder.wait_for(1)
            first.close()
            wait_until(lambda: source.connection.connects == 2)
            assert second.accepted == 1
            publisher.send("/topic/test.failover", {"n": 2})
            recorder.wait_for(2)
    assert +source.connection.failures == {Cause.NETWORK: 1}
    assert +source.connection.disconnects == {Cause.NETWORK: 1}


@pytest.mark.parametrize("tls", [False, True])
def test_a_broker_gone_silent_is_noticed_within_its_heartbeats(
    activemq: ActiveMQ, certificates: Certificates, tls: bool
) -> None:
    topic = f"/topic/test.silent.{tls}"
    settings = {"client_id": f"silent-{tls}", "heartbeat": BEAT}
    settings |= with_tls(certificates) if tls else {}
    recorder = Recorder()
    proxy = Proxy(activemq.tls_port if tls else activemq.port)
    with proxy, running(bus(proxy.port, topic, **settings), recorder) as source:
        proxy.swallow()
        wait_until(lambda: source.connection.disconnects[Cause.SILENT], 10)
        assert str(source.connection.problem()).startswith("silent: 127.0.0.1:")
        proxy.heal()
        wait_until(lambda: source.connection.connected)
        with Publisher(activemq.port) as publisher:
            publisher.send(topic, {"n": 1})
        recorder.wait_for(1)
        proxy.cut()
        wait_until(lambda: source.connection.disconnects[Cause.NETWORK])
        wait_until(lambda: source.connection.connected)


def test_a_broker_without_heartbeats_that_reads_nothing_is_left() -> None:
    recorder = Recorder()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = bus(
            listener.getsockname()[1], "/queue/x", ack="client-individual", heartbeat=BEAT
        )
        with (
            running(settings, recorder, connected=False) as source,
            subscribed(listener, heartbeat=0) as (client, asked),
        ):
            client.settimeout(30)
            head = f"MESSAGE\nsubscription:{secret_of(asked)}/queue/x\nack:%d{'x' * 60_000}\n\n"
            with suppress(OSError):  # busmon has left
                for number in range(1000):  # whose acknowledgements have more than sockets keep
                    client.sendall((head % number).encode() + b"{}\0")
            wait_until(lambda: source.connection.disconnects[Cause.SILENT], what="the end")


def test_a_deleted_queue_is_reported_and_made_again(rabbitmq: RabbitMQ) -> None:
    user, passcode = RABBIT_USER
    login = {"vhost": VHOST, "login": user, "passcode": passcode}
    topic = "/topic/test.deleted"
    recorder = Recorder()
    with running(bus(rabbitmq.stomp_port, topic, client_id="deleted", **login), recorder) as (
        source
    ):
        rabbitmq.delete_queue(f"deleted:{topic}")
        wait_until(lambda: source.connection.disconnects[Cause.CANCELLED])
        wait_until(lambda: source.connection.connected)
        with Publisher(rabbitmq.stomp_port, VHOST, username=user, passcode=passcode) as publisher:
            publisher.send(topic, {"n": 1})
        recorder.wait_for(1)


@both_brokers
def test_a_stopped_source_leaves_no_thread_and_no_connection_behind(broker: Broker) -> None:
    before = set(threading.enumerate())
    with running(bus(broker.port, **broker.settings), Recorder()):
        assert set(threading.enumerate()) - before
    wait_until(lambda: set(threading.enumerate()) <= before, what="all threads to end")
