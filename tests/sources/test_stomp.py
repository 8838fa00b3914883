"""STOMP against a real ActiveMQ and a real RabbitMQ."""

import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from busmon.message import Message
from busmon.sources.base import Cause
from busmon.sources.json_body import NOT_JSON, NOT_OBJECT, NOT_UTF8
from busmon.sources.stomp import session
from busmon.sources.stomp.frames import Frame, FrameReader, write_frame
from busmon.sources.stomp.session import MAX_BATCH_BYTES, subscription_headers
from busmon.sources.stomp.settings import StompBus
from busmon.sources.stomp.source import StompSource, message_of
from tests.support.brokers import free_port, wait_until
from tests.support.brokers.activemq import PASSCODE, USER, ActiveMQ, Publisher
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.proxy import Proxy
from tests.support.brokers.rabbitmq import USER as RABBIT_USER
from tests.support.brokers.rabbitmq import VHOST, RabbitMQ
from tests.support.pretenders import secret_of
from tests.support.sources import AsTheyAre, Record, Recorder, failing_once, once, wait_for_problem
from tests.support.sources import running as running_source

BEAT = 1  # seconds


@dataclass
class Broker:
    """What a test needs to know of either broker."""

    port: int
    settings: dict[str, Any]
    publisher: Callable[[], Publisher]
    stop: Callable[[], Any]
    kill: Callable[[], Any]
    start: Callable[[], Any]


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Broker:
    server = request.getfixturevalue(request.param)
    if isinstance(server, ActiveMQ):
        return Broker(
            server.port,
            {},
            lambda: Publisher(server.port),
            server.terminate,
            server.kill,
            server.start,
        )
    assert isinstance(server, RabbitMQ)
    name, passcode = RABBIT_USER
    return Broker(
        server.stomp_port,
        {"vhost": VHOST, "login": name, "passcode": passcode},
        lambda: Publisher(server.stomp_port, VHOST, username=name, passcode=passcode),
        server.stop,
        server.kill,
        server.start,
    )


both_brokers = pytest.mark.parametrize("broker", ["activemq", "rabbitmq"], indirect=True)


def bus(port: int, destination: str = "/topic/test.none", **settings: Any) -> StompBus:
    given = {"brokers": [f"127.0.0.1:{port}"], "destinations": [destination], "heartbeat": BEAT}
    return StompBus.model_validate({"type": "stomp", "rules": "all"} | given | settings)


def numbered(numbers: Sequence[int]) -> list[dict[str, int]]:
    return [{"n": number} for number in numbers]


def running(
    settings: StompBus, handler: Record | AsTheyAre, *, connected: bool = True
) -> AbstractContextManager[StompSource]:
    return running_source(StompSource("bus", settings), handler, connected=connected)


@pytest.mark.parametrize(
    ("broker", "published", "subscribed", "settings"),
    [
        ("activemq", "/topic/test.durable", None, {"client_id": "exact"}),
        (
            "activemq",
            "/topic/VirtualTopic.eng.brew",
            "/queue/Consumer.busmon.1234.VirtualTopic.eng.>",
            {"ack": "client-individual", "topic_header": "original-destination"},
        ),
        ("rabbitmq", "/topic/test.durable", None, {"client_id": "exact"}),
        ("rabbitmq", "/queue/test.exact", None, {"ack": "client-individual"}),
    ],
    indirect=["broker"],
)
def test_5000_messages_are_counted_even_those_sent_while_it_is_down(
    broker: Broker, published: str, subscribed: str | None, settings: dict[str, Any]
) -> None:
    settings = broker.settings | settings
    watched = bus(broker.port, subscribed or published, **settings)
    recorder = Recorder()
    with broker.publisher() as publisher:
        with running(watched, recorder):
            publisher.send(published, *numbered(range(2000)))
            recorder.wait_for(1000)
        assert len(recorder.counted) < 5000
        publisher.send(published, *numbered(range(2000, 5000)))
        with running(watched, recorder):
            recorder.wait_for(5000)
    assert recorder.numbers() == once(5000)
    assert recorder.duplicates == 0  # all that was counted had been acknowledged before the end
    assert {message.topic for message in recorder.counted} == {re.sub("^/[^/]+/", "", published)}
    with running(watched, recorder), broker.publisher() as publisher:
        publisher.send(published, {"n": 5000})
        recorder.wait_for(5001)
    assert recorder.numbers() == once(5001)
    assert recorder.duplicates == 0


@both_brokers
@pytest.mark.parametrize("ack", ["client", "client-individual"])
def test_every_subscription_of_a_session_is_acknowledged(broker: Broker, ack: str) -> None:
    destinations = ["/queue/test.one", "/topic/test.two", "/queue/test.three"]
    settings = broker.settings | {"destinations": destinations, "client_id": "all", "prefetch": 7}
    watched = bus(broker.port, ack=ack, **settings)
    recorder = Recorder()
    for start in (0, 150):
        with running(watched, recorder) as source, broker.publisher() as publisher:
            for number in range(start, start + 150, 5):
                destination = destinations[number // 5 % 3]
                publisher.send(destination, *numbered(range(number, number + 5)))
            recorder.wait_for(start + 150)
        assert +source.connection.disconnects == {}
    assert recorder.numbers() == once(300)
    assert recorder.duplicates == 0


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
            ended.wait(30)  # so that this batch can't be acknowledged

    watched = bus(broker.port, topic, client_id=f"restarted-{how}", prefetch=50, **broker.settings)
    with running(watched, record) as source:
        with broker.publisher() as publisher:
            publisher.send(topic, *numbered(range(3000)))
            assert halfway.wait(30)
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
    settings = {"client_id": f"silent-{tls}"} | (with_tls(certificates) if tls else {})
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


def with_tls(certificates: Certificates, **changes: Path) -> dict[str, Any]:
    certificate, key = certificates.client("busmon")
    names = {"ca": certificates.ca, "certificate": certificate, "key": key}
    return {"tls": True} | names | changes


def test_a_client_certificate_is_a_login(rabbitmq: RabbitMQ, certificates: Certificates) -> None:
    certificate, key = certificates.client("fedora")
    settings = with_tls(certificates, certificate=certificate, key=key)
    queue = str(uuid4())
    rabbitmq.declare_queue(queue, ["test.by-certificate"])
    port, topic = rabbitmq.stomps_port, "/exchange/amq.topic/test.by-certificate"
    recorder = Recorder()
    with running(bus(port, f"/amq/queue/{queue}", vhost=VHOST, **settings), recorder):
        name, passcode = RABBIT_USER
        with Publisher(rabbitmq.stomp_port, VHOST, username=name, passcode=passcode) as publisher:
            publisher.send(topic, *numbered(range(100)))
        recorder.wait_for(100)
    assert recorder.numbers() == once(100)
    rabbitmq.delete_queue(queue)


def test_what_keeps_a_source_from_its_broker_is_explained(
    activemq: ActiveMQ, rabbitmq: RabbitMQ, certificates: Certificates
) -> None:
    plain, tls, rabbit = activemq.port, activemq.tls_port, rabbitmq.stomp_port
    trusted = with_tls(certificates)
    stranger, key = certificates.untrusted_client("busmon")
    anonymous = {"tls": True, "ca": certificates.ca}
    user, passcode = RABBIT_USER
    at_rabbit = {"vhost": VHOST, "login": user, "passcode": passcode}
    elsewhere = {"brokers": ["nowhere.invalid:61613"]}
    misnamed = trusted | {"brokers": [f"127.1:{tls}"]}  # another name of 127.0.0.1
    bad_ca = with_tls(certificates, ca=certificates.client("busmon")[1])
    wrong_key = with_tls(certificates, key=certificates.client("somebody")[1])
    cases: list[tuple[int, dict[str, Any], Cause, str]] = [
        (
            tls,
            with_tls(certificates, ca=certificates.other_ca),
            Cause.TLS,
            "not trusted: check ca",
        ),
        (tls, misnamed, Cause.TLS, "IP address mismatch|Hostname mismatch"),
        (tls, with_tls(certificates, certificate=stranger, key=key), Cause.TLS, "certificate"),
        (tls, anonymous, Cause.TLS, "check certificate and key"),
        (tls, bad_ca, Cause.TLS, "check ca: .*busmon.key: should hold a certificate"),
        (tls, wrong_key, Cause.TLS, "check key: .*does not belong to the certificate"),
        (rabbit, trusted, Cause.TLS, "check that the port speaks TLS"),
        (tls, {}, Cause.NETWORK, "check tls"),
        (plain, {"login": USER, "passcode": "wrong"}, Cause.LOGIN, "check login, passcode"),
        (plain, {"login": "nobody", "passcode": PASSCODE}, Cause.LOGIN, "check login"),
        (rabbit, at_rabbit | {"passcode": "wrong"}, Cause.LOGIN, "check login, passcode"),
        (rabbit, at_rabbit | {"vhost": "/none"}, Cause.DENIED, "check vhost"),
        (rabbit, at_rabbit | {"destinations": ["/no/such"]}, Cause.DENIED, "Unknown destination"),
        (plain, {"destinations": ["/topic/private.x"]}, Cause.DENIED, "not authorized to read"),
        (plain, elsewhere, Cause.NETWORK, "nowhere.invalid:61613: "),
        (free_port(), {}, Cause.NETWORK, "refused"),
    ]
    wrong = []
    for port, settings, cause, text in cases:
        with running(bus(port, **settings), Recorder(), connected=False) as source:
            problem = str(
                wait_until(lambda: +source.connection.failures and source.connection.problem())
            )
        if set(+source.connection.failures) != {cause} or not re.search(text, problem):
            wrong.append(f"{problem!r} instead of {cause} {text!r}")
        assert "wrong" not in problem
    assert not wrong


def test_a_broker_that_never_answers_is_silent(activemq: ActiveMQ) -> None:
    with Proxy(activemq.port) as proxy:
        proxy.swallow()
        with running(bus(proxy.port), Recorder(), connected=False) as source:
            wait_until(lambda: source.connection.failures[Cause.SILENT])


@both_brokers
def test_what_could_not_be_recorded_comes_again(broker: Broker) -> None:
    recorder = Recorder()
    topic = "/topic/test.full"
    settings = bus(broker.port, topic, client_id="full", **broker.settings)
    with running(settings, recorder) as source, broker.publisher() as publisher:
        recorder.failing = True
        publisher.send(topic, *numbered(range(100)))
        wait_until(lambda: source.connection.disconnects[Cause.LEDGER])
        assert source.connection.problem() == "ledger: disk full"
        recorder.failing = False
        recorder.wait_for(100)
    assert recorder.numbers() == once(100)


@both_brokers
@pytest.mark.parametrize(("what", "at"), [("judge", 20), ("record", 0)])
def test_a_bug_is_survived_and_loses_nothing(broker: Broker, what: str, at: int) -> None:
    recorder = Recorder()
    topic = f"/topic/test.{what}"
    settings = bus(broker.port, topic, client_id=f"buggy-{what}", **broker.settings)
    with running(settings, failing_once(recorder, what, at)) as source:
        with broker.publisher() as publisher:
            publisher.send(topic, *numbered(range(100)))
        recorder.wait_for(100)
        assert source.connection.disconnects[Cause.ERROR] == 1
    assert recorder.numbers() == once(100)


@both_brokers
def test_no_more_is_read_while_what_was_read_is_not_recorded(broker: Broker) -> None:
    """Also asked to stop meanwhile it acknowledges what it has recorded, and no more."""
    size, sizes = 1024**2, list[int]()
    recorder = Recorder()

    def slowly(messages: Sequence[Message]) -> None:
        batch = list(messages)
        sizes.append(sum(message.size for message in batch))
        time.sleep(0.3)  # in which the broker would send all the rest
        recorder(batch)

    queue = f"/queue/test.{uuid4()}"
    # RabbitMQ hears no heart-beat while it waits to send.
    watched = bus(broker.port, queue, heartbeat=10, **broker.settings)
    with broker.publisher() as publisher:
        publisher.send(queue, *({"n": n, "pad": "x" * size} for n in range(30)))
    with running(watched, slowly):
        recorder.wait_for(10)
    assert len(recorder.numbers()) < 30
    with running(watched, slowly) as source:
        recorder.wait_for(30)
        assert source.connection.connects == 1
    assert recorder.numbers() == once(30)
    assert max(sizes) < MAX_BATCH_BYTES + 2 * size


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
def test_bodies_that_are_no_json_object_are_counted_with_the_reason(broker: Broker) -> None:
    bodies = [b"\xff\xfe", b"not json", b"[1]", b"\0", b"", b'{"n": 1}', b'{"n": 1}']
    recorder = Recorder()
    queue = "/queue/test.bodies"
    with running(bus(broker.port, queue, **broker.settings), recorder):
        with broker.publisher() as publisher:
            publisher.send(queue, *bodies)
        recorder.wait_for(len(bodies))
    assert [message.rejected for message in recorder.counted] == [
        NOT_UTF8,
        NOT_JSON,
        NOT_OBJECT,
        NOT_JSON,
        NOT_JSON,
        None,
        None,
    ]
    assert [message.size for message in recorder.counted] == [len(body) for body in bodies]
    assert [message.body for message in recorder.counted[-2:]] == [{"n": 1}, {"n": 1}]


def test_neither_passcode_nor_body_is_logged_at_any_level(
    activemq: ActiveMQ, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.CRITICAL, "stomp.py")  # the publisher's
    settings = bus(activemq.port, "/queue/test.logged", login=USER, passcode=PASSCODE)
    recorder = Recorder()
    with running(settings, recorder):
        with Publisher(activemq.port) as publisher:
            publisher.send("/queue/test.logged", {"n": "secret"})
        recorder.wait_for(1)
    assert PASSCODE not in caplog.text
    assert "secret" not in caplog.text


@both_brokers
def test_a_stopped_source_leaves_no_thread_and_no_connection_behind(broker: Broker) -> None:
    before = set(threading.enumerate())
    with running(bus(broker.port, **broker.settings), Recorder()):
        assert set(threading.enumerate()) - before
    wait_until(lambda: set(threading.enumerate()) <= before, what="all threads to end")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("version:1.2", None),
        ("version:1.2\nheart-beat:0,0", None),
        ("version:1.1\nheart-beat:1000,1000", "network: .*the broker speaks STOMP 1.1, not 1.2"),
    ],
)
def test_a_broker_without_heartbeats_is_warned_of_an_old_one_refused(
    answer: str, problem: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        settings = bus(port, "/queue/x", heartbeat=BEAT)
        with running(settings, Recorder(), connected=False) as source:
            client, _ = listener.accept()
            with client:
                client.recv(4096)
                client.sendall(f"CONNECTED\n{answer}\n\n\0".encode())
                if problem:
                    wait_until(lambda: source.connection.failures[Cause.NETWORK])
                    assert re.match(problem, str(source.connection.problem()))
                    return
                client.recv(4096)
                client.sendall(b"RECEIPT\nreceipt-id:/queue/x\n\n\0")
                wait_until(lambda: source.connection.connected)
    assert f"127.0.0.1:{port} sends no heart-beats" in caplog.text


def test_messages_are_acknowledged_singly_if_the_broker_lost_count() -> None:
    """ActiveMQ, restarted, can send some twice; then it refuses each cumulative acknowledgement."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = bus(listener.getsockname()[1], "/queue/x", heartbeat=BEAT)
        with running(settings, Recorder(), connected=False):
            for error, ack in ("Unmatched acknowledge: …", "client"), ("…", "client-individual"):
                with subscribed(listener) as (client, asked):
                    client.sendall(f"ERROR\nmessage:{error}\n\n\0".encode())
                assert f"\nack:{ack}\n".encode() in asked


def test_a_message_that_the_broker_sends_twice_is_acknowledged_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ActiveMQ, restarted, does so, and ends the connection at the second acknowledgement.

    It can also keep others back until the next connection, which therefore comes soon.
    """
    monkeypatch.setattr(session, "SETTLE_SECONDS", 0.5)
    recorder = Recorder()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = bus(
            listener.getsockname()[1], "/queue/x", heartbeat=BEAT, ack="client-individual"
        )
        with running(settings, recorder, connected=False) as source:
            with subscribed(listener) as (client, asked):
                secret = secret_of(asked)
                for ack, sent in enumerate(["x a", "x b", "x a", "y a", "x c"]):
                    queue, identity = sent.split()  # two destinations may bring the same one
                    headers = (
                        f"subscription:{secret}/queue/{queue}\nmessage-id:{identity}\nack:{ack}"
                    )
                    client.sendall(f"MESSAGE\n{headers}\n\n{{}}\0".encode())
                said = ""
                while "\nid:4\n" not in said:
                    said += client.recv(4096).decode()
                wait_for_problem(source, "network: * the broker sent messages twice, *")
            with subscribed(listener):
                wait_until(lambda: source.connection.connects == 2, what="the next connection")
    assert re.findall(r"ACK\nid:(\d)", said) == ["0", "1", "3", "4"]
    assert (len(recorder.counted), recorder.duplicates) == (3, 2)


@hypothesis_settings(deadline=None)
@given(st.text("\\rnc:\r\n"))
def test_a_header_is_read_as_it_was_written(value: str) -> None:
    (frame,) = FrameReader(["header"]).feed(write_frame("MESSAGE", {"header": value}))
    assert frame.headers == {"header": value}


def test_a_message_that_comes_with_heartbeats_before_it_is_received() -> None:
    """As after a pause of the reader; line ends in a body, also after a NUL, stay."""
    recorder = Recorder()
    bodies = [b'{"n": 0}', b'{"n":\n\n1}', b"\0\n\n{}", b'{"n": 2}']
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = bus(listener.getsockname()[1], "/queue/x", heartbeat=BEAT)
        with running(settings, recorder, connected=False), subscribed(listener) as (client, asked):
            secret = secret_of(asked)
            for number, body in enumerate(bodies):
                headers = f"subscription:{secret}/queue/x\nmessage-id:{number}\nack:{number}"
                frame = f"MESSAGE\n{headers}\ncontent-length:{len(body)}\n\n".encode() + body
                for piece in (b"\n\n\n" + frame + b"\0\n", b"\r\n\n"):
                    client.sendall(piece)
                recorder.wait_for(number + 1)
    assert [message.get("n") for message in recorder.counted] == [0, 1, None, 2]
    assert recorder.counted[2].rejected


@contextmanager
def subscribed(listener: socket.socket) -> Iterator[tuple[socket.socket, bytes]]:
    """Stand in for a broker: let a client in, and yield its connection and what it asked for."""
    client, _ = listener.accept()
    with client:
        client.recv(4096)
        client.sendall(b"CONNECTED\nversion:1.2\nheart-beat:1000,1000\n\n\0")
        asked = client.recv(4096)
        client.sendall(b"RECEIPT\nreceipt-id:/queue/x\n\n\0")
        yield client, asked


@pytest.mark.parametrize(
    ("headers", "settings", "topic"),
    [
        ({"destination": "/topic/a.b"}, {}, "a.b"),
        ({"destination": "/queue/a.b"}, {}, "a.b"),
        ({"destination": "/exchange/amq.topic/a.b"}, {}, "a.b"),
        ({"destination": "/topic/VirtualTopic.eng.x"}, {}, "VirtualTopic.eng.x"),
        ({"destination": "/queue/Consumer.c.u.VirtualTopic.eng.x"}, {}, "VirtualTopic.eng.x"),
        ({"destination": "/queue/Consumer.c.other"}, {}, "Consumer.c.other"),
        (
            {
                "destination": "/queue/Consumer.c.u.VirtualTopic.>",
                "original-destination": "/topic/VirtualTopic.eng.x",
            },
            {"topic_header": "original-destination"},
            "VirtualTopic.eng.x",
        ),
        (
            {"destination": "/topic/a", "original-destination": "/topic/VirtualTopic.forged"},
            {},
            "a",
        ),
        ({"destination": "/topic/a", "event": "b"}, {"topic_header": "event"}, "b"),
        ({"destination": "/topic/a"}, {"topic_header": "event"}, "a"),
        ({"destination": "/topic/a.b"}, {"topic_pattern": r"\.(\w+)$"}, "b"),
        ({"destination": "/topic/ab"}, {"topic_pattern": r"\.(\w+)$"}, "/topic/ab"),
        ({}, {}, "subscribed"),
    ],
)
def test_the_topic_is_part_of_a_header(
    headers: dict[str, str], settings: dict[str, Any], topic: str
) -> None:
    assert made(headers, settings).topic == topic


@pytest.mark.parametrize(
    ("timestamp", "sent_at"),
    [
        ("1574000000123", 1574000000.123),
        ("0", None),
        ("", None),
        ("soon", None),
        ("9" * 400, None),
        (None, None),
    ],
)
def test_the_time_of_sending_is_a_header_in_milliseconds(
    timestamp: str | None, sent_at: float | None
) -> None:
    headers = {"destination": "/topic/a"} | ({"timestamp": timestamp} if timestamp else {})
    assert made(headers).sent_at == sent_at


def test_a_message_is_identified_by_a_header_or_its_content() -> None:
    headers = {"destination": "/topic/a", "message-id": "m1", "redelivered": "true"}
    at_activemq = made(headers)
    assert (at_activemq.id, at_activemq.digest_id, at_activemq.redelivered) == ("m1", False, True)
    at_rabbit = made(headers, server="RabbitMQ/3.10.8")
    assert at_rabbit.digest_id
    assert at_rabbit.id == made(headers | {"message-id": "m2"}, server="RabbitMQ/3.10.8").id
    assert at_rabbit.id != made(headers | {"destination": "/b/c"}, server="RabbitMQ/3.10.8").id
    named = headers | {"amqp-message-id": "uuid"}
    assert made(named, server="RabbitMQ/3.10.8").id == "uuid"
    assert made(headers | {"key": "k"}, {"id_header": "key"}, server="RabbitMQ/4").id == "k"
    assert made(headers, {"id_header": "key"}).digest_id


def made(
    headers: dict[str, str], settings: dict[str, Any] | None = None, server: str = "ActiveMQ/5"
) -> Message:
    frame = Frame("MESSAGE", {"subscription": "/topic/subscribed"} | headers, b"{}", 2)
    return message_of(frame, "bus", bus(1, **settings or {}), server=server, received_at=0.0)


def test_only_topics_are_made_durable_and_only_for_a_client_with_a_name() -> None:
    nameless = subscription_headers(bus(1), "/topic/a")
    assert nameless == {
        "destination": "/topic/a",
        "receipt": "/topic/a",
        "ack": "client",
        "activemq.prefetchSize": "1000",
        "prefetch-count": "1000",
    }
    named = bus(1, client_id="me")
    assert subscription_headers(named, "/topic/a") == nameless | {
        "activemq.subscriptionName": "me:/topic/a",
        "durable": "true",
        "auto-delete": "false",
        "x-queue-name": "me:/topic/a",
    }
    assert "durable" not in subscription_headers(named, "/queue/a")


@pytest.mark.parametrize(
    ("settings", "place", "text"),
    [
        ({"brokers": ["localhost"]}, "brokers.0", "should be host:port"),
        ({"brokers": []}, "brokers", "at least 1 item"),
        ({"destinations": ["a.b"]}, "destinations.0", "should be /topic/NAME, /queue/NAME"),
        ({"destinations": ["/queue/a", "/queue/a"]}, "destinations", "should all be different"),
        ({"login": "me"}, "login", "needs passcode too"),
        ({"passcode": "secret"}, "passcode", "needs login too"),
        ({"ca": __file__}, "ca", "needs tls = true"),
        ({"topic_pattern": "("}, "topic_pattern", "should be a regular expression: missing"),
        ({"topic_pattern": "a"}, "topic_pattern", "exactly one group, which is the topic, not 0"),
        ({"topic_pattern": "(a)(b)"}, "topic_pattern", "exactly one group"),
        ({"heartbeat": 0}, "heartbeat", "greater than 0"),
        ({"client_id": ""}, "client_id", "at least 1 character"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    settings: dict[str, Any], place: str, text: str
) -> None:
    with pytest.raises(ValidationError) as error:
        bus(1, **settings)
    (problem,) = error.value.errors()
    assert ".".join(map(str, problem["loc"])) == place
    assert text in problem["msg"]
    assert "secret" not in str(error.value)


def test_a_broker_may_be_an_ipv6_address() -> None:
    assert bus(1, brokers=["[::1]:61613"]).brokers == ("[::1]:61613",)


def test_a_client_id_that_is_in_use_is_a_problem_of_its_own(activemq: ActiveMQ) -> None:
    settings = bus(activemq.port, "/topic/test.twice", client_id="twice")
    with running(settings, Recorder()), running(settings, Recorder(), connected=False) as second:
        wait_for_problem(second, "denied: *: is there another client with this client_id? *")
