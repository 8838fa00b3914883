"""The AMQP source against a real RabbitMQ that is set up as Fedora's public broker."""

import json
import logging
import re
import shutil
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pika
import pytest

from busmon.logs import LIBRARY_LEVELS
from busmon.message import Judgement, Message
from busmon.sources import fedora_message
from busmon.sources.amqp import session
from busmon.sources.amqp.settings import AmqpBus
from busmon.sources.amqp.source import AmqpSource
from busmon.sources.base import Cause
from busmon.sources.json_body import NOT_JSON, NOT_OBJECT, NOT_UTF8
from tests.samples import FEDORA_FILE
from tests.support.brokers import free_port, wait_until
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.proxy import Proxy
from tests.support.brokers.rabbitmq import EXCHANGE, USER, VHOST, Publication, RabbitMQ
from tests.support.listener_process import ListenerProcess
from tests.support.sources import (
    AsTheyAre,
    Record,
    Recorder,
    failing_once,
    once,
    running,
    wait_for_problem,
)

RECORDED = [json.loads(line) for line in FEDORA_FILE.read_text().splitlines()]


@pytest.fixture(autouse=True)
def no_noise(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a broker does, neither busmon nor its libraries log an error or a traceback."""
    for name, level in LIBRARY_LEVELS.items():
        caplog.set_level(level, name)
    caplog.set_level(logging.INFO)
    yield
    noise = [r for r in caplog.get_records("call") if r.exc_info or r.levelno >= logging.ERROR]
    assert not [record.getMessage() for record in noise]


@dataclass
class Bus:
    """A part of the broker's bus that is one test's own: topics below `root`, and a queue."""

    broker: RabbitMQ
    directory: Path
    root: str
    queue: str

    def source(self, *, prefetch: int = 200, heartbeat: int = 5, **toml: Any) -> AmqpSource:
        path = self.directory / f"{uuid4().hex}.toml"
        config = self.broker.fedora_toml(path, **{"bindings": [f"{self.root}.#"]} | toml)
        return AmqpSource("fedora", settings(config, prefetch, heartbeat), self.queue)

    def numbered(self, numbers: Iterable[int], body: Mapping[str, Any] | None = None) -> None:
        rest = dict(body or {})
        self.broker.publish(
            Publication(topic=f"{self.root}.n", body=json.dumps({"n": n} | rest).encode())
            for n in numbers
        )

    def waiting(self) -> int | None:
        """How many messages the queue holds that were not acknowledged, once nobody reads it."""
        wait_until(lambda: not self.broker.consumer_count(self.queue), what="no consumer")
        return self.broker.queue_count(self.queue)


def settings(config: Path, prefetch: int = 200, heartbeat: int = 5) -> AmqpBus:
    return AmqpBus(type="amqp", rules="all", config=config, prefetch=prefetch, heartbeat=heartbeat)


@pytest.fixture
def bus(rabbitmq: RabbitMQ, tmp_path: Path) -> Bus:
    return Bus(rabbitmq, tmp_path, f"bus-{uuid4().hex[:8]}", str(uuid4()))


class Gate:
    """Hands batches on while it is open; before that, each waits."""

    def __init__(self, record: Record) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()
        self._record = record

    def __call__(self, batch: Sequence[Message]) -> None:
        self.reached.set()
        assert self.open.wait(30)
        self._record(batch)


def slowly(recorder: Recorder) -> Record:
    """Take 5 ms a batch, so that a stream has a middle in which to break it."""

    def record(batch: Sequence[Message]) -> None:
        time.sleep(0.005)
        recorder(batch)

    return record


# --- every message once -----------------------------------------------------------------


def test_every_message_is_received_once_and_acknowledged(bus: Bus) -> None:
    """Over TLS, logged in by certificate; the queue keeps what comes while busmon is away."""
    publications = {
        str(uuid4()): (record, f"{bus.root}.{record['topic']}")
        for record in (RECORDED[n % len(RECORDED)] for n in range(5000))
    }
    published = [
        Publication.recorded(record, topic=topic, message_id=message_id)
        for message_id, (record, topic) in publications.items()
    ]
    recorder = Recorder()
    with running(bus.source(), recorder) as source:
        bus.broker.publish(published[:3000])
        recorder.wait_for(3000)
        assert (source.connection.connects, source.connection.problem()) == (1, None)
    assert bus.waiting() == 0
    bus.broker.publish(published[3000:])
    with running(bus.source(), recorder):
        recorder.wait_for(5000)
    assert bus.waiting() == 0
    assert recorder.duplicates == 0
    assert [message.id for message in recorder.counted] == list(publications)  # in order
    for message in recorder.counted:
        record, topic = publications[message.id]
        body, verdict = fedora_message.decode(
            topic, record["headers"], "utf-8", encoded(record["body"])
        )
        assert (message.bus, message.topic, message.digest_id) == ("fedora", topic, False)
        assert (message.body, message.rejected) == (body, verdict)
        assert message.sent_at == fedora_message.sent_at(record["headers"])
        assert message.size == len(encoded(record["body"]))


def encoded(body: object) -> bytes:
    return json.dumps(body).encode()


def test_the_listener_beside_it_still_gets_every_message(bus: Bus) -> None:
    """Both read the same configuration file, which names the listener's queue."""
    recorder = Recorder()
    config = bus.broker.fedora_toml(bus.directory / "shared.toml", bindings=[f"{bus.root}.#"])
    published = [Publication(topic=f"{bus.root}.n") for _ in range(200)]
    with (
        ListenerProcess(config) as listener,
        running(AmqpSource("fedora", settings(config), bus.queue), recorder),
    ):
        bus.broker.publish(published)
        recorder.wait_for(200)
        last = f"(message id {published[-1].message_id})"
        wait_until(lambda: listener.logged(last), what="the listener's last message")
        heard = set(re.findall(r"\(message id ([\w-]+)\)", listener.output()))
    expected = {message.message_id for message in published}
    assert heard == {message.id for message in recorder.counted} == expected


def test_two_buses_with_different_logins_run_side_by_side(bus: Bus) -> None:
    """fedora-messaging keeps one configuration for the whole process."""
    recorders = Recorder(), Recorder()
    other = Bus(bus.broker, bus.directory, f"{bus.root}-other", str(uuid4()))
    with Proxy(bus.broker.amqps_port) as proxy:
        by_certificate, by_password = bus.source(port=proxy.port), other.source(tls=False)
        with running(by_certificate, recorders[0]), running(by_password, recorders[1]):
            for round_ in range(3):
                proxy.cut()
                bus.numbered(range(round_ * 100, round_ * 100 + 100))
                other.numbered(range(round_ * 200, round_ * 200 + 200))
                recorders[0].wait_for(round_ * 100 + 100)
                recorders[1].wait_for(round_ * 200 + 200)
        assert by_certificate.connection.disconnects[Cause.NETWORK] == 3
        assert by_password.connection.connects == 1
    assert recorders[0].numbers() == once(300)
    assert recorders[1].numbers() == once(600)


# --- what the listener never sees -------------------------------------------------------

COPR = {"fedora_messaging_schema": "copr.build.start"}
PLAIN = b'{"a": 1}'
REFUSED: list[tuple[bytes, dict[str, Any], dict[str, Any], Judgement]] = [
    (b"\xff", {}, {}, NOT_UTF8),
    (b"{", {}, {}, NOT_JSON),
    (b"", {}, {}, NOT_JSON),
    (b"[1]", {}, {}, NOT_OBJECT),
    (b"{}", COPR, {}, fedora_message.BAD_SCHEMA),
    (PLAIN, {"fedora_messaging_severity": 15}, {}, fedora_message.BAD_HEADERS),
    (PLAIN, {"fedora_messaging_schema": None}, {}, fedora_message.BAD_HEADERS),
    (PLAIN, {"fedora_messaging_schema": ["a", "list"]}, {}, fedora_message.KILLS_CONSUMER),
    (PLAIN, {}, {"content_encoding": "no-such-encoding"}, fedora_message.KILLS_CONSUMER),
    (b"[" * 100_000, {}, {}, fedora_message.KILLS_CONSUMER),
    (b"[" * 100_000, {}, {"message_id": None}, fedora_message.KILLS_CONSUMER),
]


def test_what_the_listener_never_sees_arrives_with_its_judgement(bus: Bus) -> None:
    recorder = Recorder()
    published = []
    for body, headers, properties, _ in REFUSED:
        bad = Publication(
            topic=f"{bus.root}.bad", body=body, headers=headers, properties=properties
        )
        published += [bad, Publication(topic=f"{bus.root}.good", body=PLAIN)]
    with running(bus.source(), recorder) as source:
        bus.broker.publish(published)
        recorder.wait_for(len(published))
        assert source.connection.connects == 1
    assert [m.rejected for m in recorder.counted if m.topic.endswith(".bad")] == [
        verdict for *_, verdict in REFUSED
    ]
    assert [m.rejected for m in recorder.counted if m.topic.endswith(".good")] == [None] * len(
        REFUSED
    )
    for message, publication in zip(recorder.counted, published, strict=True):
        if not message.digest_id:
            assert message.id == publication.message_id
        assert message.size == len(publication.body)
    assert [message.digest_id for message in recorder.counted].count(True) == 1
    assert bus.waiting() == 0


class RawHeaders(pika.BasicProperties):  # type: ignore[misc] # pika has no type hints
    """Properties whose headers are an encoded table of AMQP, of types that pika never sends."""

    def __init__(self, table: bytes) -> None:
        super().__init__(headers={"": None}, message_id=str(uuid4()), delivery_mode=2)
        self._table = struct.pack(">I", len(table)) + table

    def encode(self) -> list[bytes]:
        encoded = b"".join(super().encode())
        before, empty, after = encoded.partition(b"\0\0\0\2\0V")
        assert empty
        return [before + self._table + after]


def field(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + value


# Each type that RabbitMQ knows, by its letter.
TYPES = {
    b"t\1": True,
    b"b\xff": -1,
    b"B\xff": 255,
    b"s\xff\xff": -1,
    b"u\xff\xff": 65535,
    b"I\xff\xff\xff\xff": -1,
    b"i\xff\xff\xff\xff": 2**32 - 1,
    b"l" + b"\xff" * 8: -1,
    b"f" + struct.pack(">f", 1.5): 1,
    b"d" + struct.pack(">d", 1.5): 1,
    b"D\2\0\0\0\5": "0.05",
    b"S\0\0\0\1a": "a",
    b"S\0\0\0\1\xff": b"\xff",
    b"x\0\0\0\1\xff": b"\xff",
    b"A\0\0\0\2t\1": [True],
    b"F\0\0\0\4" + field(b"a", b"t\1"): {"a": True},
    b"T" + struct.pack(">Q", 1_790_000_000): "2026-09-21",
    b"V": None,
}


def nested(depth: int) -> bytes:
    value = b"V"
    for _ in range(depth):
        value = b"A" + struct.pack(">I", len(value)) + value
    return value


UNREADABLE = [b"T" + b"\xff" * 8, nested(2000)]  # what RabbitMQ takes, and pika raises on


def test_headers_of_every_type_are_read_and_no_topic_stops_it(bus: Bus) -> None:
    recorder = Recorder()
    tables = [field(b"a", value) for value in TYPES] + [field(b"\xff\xfe", b"V")]
    unreadable = [field(b"a", value) for value in UNREADABLE]
    with closing(pika.BlockingConnection(pika.URLParameters(bus.broker.admin_url))) as publisher:
        channel = publisher.channel()
        with running(bus.source(), recorder):
            for table in tables:
                channel.basic_publish(EXCHANGE, f"{bus.root}.typed", PLAIN, RawHeaders(table))
            for table in unreadable:
                channel.basic_publish(EXCHANGE, f"{bus.root}.unread", PLAIN, RawHeaders(table))
            channel.basic_publish(EXCHANGE, f"{bus.root}.".encode() + b"\xff", PLAIN)
            recorder.wait_for(len(tables) + len(unreadable) + 1)
    received = {
        rejected: [m for m in recorder.counted if m.rejected == rejected]
        for rejected in (None, fedora_message.KILLS_CONSUMER)
    }
    assert {m.topic for m in received[None]} == {f"{bus.root}.typed", rf"{bus.root}.\xff"}
    assert {m.topic for m in received[fedora_message.KILLS_CONSUMER]} == {f"{bus.root}.unread"}
    assert len(recorder.counted) == len(tables) + len(unreadable) + 1


def test_a_redelivered_message_without_an_id_is_known_by_its_content(bus: Bus) -> None:
    recorder = Recorder()
    twice = [Publication(topic=f"{bus.root}.n", body=PLAIN, message_id=None)] * 2
    recorder.crashing = True
    with running(bus.source(), recorder) as source:
        bus.broker.publish(twice)
        wait_until(lambda: source.connection.disconnects[Cause.LEDGER], what="the crash")
        recorder.crashing = False
        wait_until(lambda: len(recorder.counted) + recorder.duplicates >= 4, what="redelivery")
    assert {(m.digest_id, len(m.id)) for m in recorder.counted} == {(True, 32)}
    assert (len(recorder.counted), recorder.duplicates) == (2, 2)


# --- what can't be recorded -------------------------------------------------------------


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
    assert gate.reached.wait(10)
    source.stop()
    gate.open.set()
    thread.join(2)
    assert not thread.is_alive()
    assert 0 < len(recorder.counted) <= 200
    assert bus.waiting() == 1000 - len(recorder.counted)
    with running(bus.source(), recorder):
        recorder.wait_for(1000)
    assert (recorder.numbers(), recorder.duplicates) == (once(1000), 0)


# --- a broker that fails ----------------------------------------------------------------


def test_a_broker_restarted_and_killed_in_mid_stream_and_down_at_start(bus: Bus) -> None:
    recorder = Recorder()
    broker, where = bus.broker, f"network: localhost:{bus.broker.amqps_port}: "
    with running(bus.source(), recorder):
        pass
    bus.numbered(range(3000))
    try:
        with running(bus.source(prefetch=5), slowly(recorder)) as source:
            recorder.wait_for(100)
            broker.stop()
            wait_for_problem(source, where + "Connection refused")
            broker.start()
            recorder.wait_for(len(recorder.counted) + 100)
            assert (source.connection.connects, source.connection.disconnects[Cause.NETWORK]) == (
                2,
                1,
            )
            broker.kill()
            assert len(recorder.counted) < 2900
            wait_until(lambda: not source.connection.connected, what="the kill to be noticed")
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


@pytest.mark.parametrize("tls", [True, False])
def test_a_connection_cut_closed_or_silent_in_mid_stream_recovers(bus: Bus, tls: bool) -> None:
    recorder = Recorder()
    with Proxy(bus.broker.amqps_port if tls else bus.broker.amqp_port) as proxy:
        source = bus.source(prefetch=5, heartbeat=1, tls=tls, port=proxy.port)
        with running(source, slowly(recorder)):
            bus.numbered(range(2000))
            recorder.wait_for(100)
            proxy.cut()
            wait_until(lambda: source.connection.disconnects[Cause.NETWORK], what="the cut")
            wait_until(lambda: source.connection.connected, what="the connection")
            bus.broker.close_connections()
            wait_until(lambda: source.connection.disconnects[Cause.NETWORK] > 1, what="the end")
            wait_until(lambda: source.connection.connected, what="the connection")
            proxy.swallow()
            wait_for_problem(source, "silent: no sign of life from the broker")
            proxy.heal()
            recorder.wait_for(2000)
            assert source.connection.disconnects[Cause.SILENT] == 1
    assert recorder.numbers() == once(2000)
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
        assert gate.reached.wait(10)
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


# --- a broker that refuses --------------------------------------------------------------


def test_a_withdrawn_permission_is_reported_until_it_returns(bus: Bus) -> None:
    recorder = Recorder()
    user = ("set_permissions", "-p", VHOST, USER[0])
    with Proxy(bus.broker.amqp_port) as proxy:
        source = bus.source(tls=False, port=proxy.port)
        with running(source, recorder):
            bus.broker.ctl(*user, "^$", ".*", ".*")
            try:
                proxy.cut()
                wait_for_problem(
                    source, "denied: the broker refuses *ACCESS_REFUSED - *" + bus.queue + "*"
                )
                bus.numbered(range(100))
            finally:
                bus.broker.ctl(*user, ".*", ".*", ".*")
            recorder.wait_for(100)
    assert recorder.numbers() == once(100)


def test_a_queue_with_other_properties_is_reported(bus: Bus) -> None:
    with closing(pika.BlockingConnection(pika.URLParameters(bus.broker.admin_url))) as other:
        other.channel().queue_declare(bus.queue, durable=True, auto_delete=True)
    with running(bus.source(), Recorder(), connected=False) as source:
        wait_for_problem(source, "denied: the broker refuses *inequivalent arg 'auto_delete'*")
        bus.broker.delete_queue(bus.queue)
        wait_until(lambda: source.connection.connected, what="the connection")


def url(host: str, login: str = ":".join(USER), vhost: str = "%2Fpublic_pubsub") -> str:
    return f"amqp://{login}@{host}/{vhost}"


def refusals(
    broker: RabbitMQ, certificates: Certificates, directory: Path
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield what is wrong in a configuration, and the problem that is reported."""
    yield (
        {"ca": certificates.other_ca},
        "tls: *: the broker's certificate is not trusted: check ca_cert in [tls] of {file} (*)",
    )
    yield (
        {"certificate": certificates.untrusted_client("fedora")},
        "tls: *: TLS failed: check certfile and keyfile in [tls] of {file} (*alert unknown ca)",
    )
    yield (
        {"certificate": certificates.client("nobody")},
        "login: the login is not accepted: check amqp_url and [tls] in {file} "
        "(ACCESS_REFUSED - Login was refused using authentication mechanism EXTERNAL. *)",
    )
    plain = f"127.0.0.1:{broker.amqp_port}"
    yield (
        {"tls": False, "url": url(login=f"{USER[0]}:wrong-horse", host=plain)},
        "login: the login is not accepted: check amqp_url and [tls] in {file} "
        "(ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. *)",
    )
    yield (
        {"tls": False, "url": url(host=plain, vhost="none")},
        "login: logged in, but not let into the virtual host: check amqp_url in {file} "
        "(NOT_ALLOWED - vhost none not found)",
    )
    closed = f"127.0.0.1:{free_port()}"
    yield {"url": url(host=closed)}, f"network: {closed}: Connection refused"
    yield (
        {"url": url(host="nowhere.invalid")},
        "network: nowhere.invalid:5672: unknown host: check amqp_url in {file} (Name *)",
    )
    yield (
        {"port": broker.amqp_port},
        "tls: *: TLS failed: check that the port speaks TLS (wrong version number)",
    )
    yield (
        {"tls": False, "port": broker.amqps_port},
        "network: no AMQP there, or TLS where amqps is not said: check amqp_url in {file} (*)",
    )
    yield (
        {"url": f"amqps://fedora:@127.1:{broker.amqps_port}/%2Fpublic_pubsub"},
        "tls: *: the broker's certificate is for another host: check amqp_url in {file} (*)",
    )
    certificate, key = certificates.client("fedora")
    _, other_key = certificates.client("nobody")
    garbage, missing = directory / "garbage.pem", directory / "missing.pem"
    garbage.write_text("correct-horse")
    not_a_pair = "tls: check certfile in [tls] of {file}: *: should hold a certificate and its *"
    yield {"certificate": (garbage, key)}, not_a_pair
    yield {"certificate": (certificate, garbage)}, not_a_pair
    yield (
        {"certificate": (certificate, other_key)},
        f"tls: check keyfile in [tls] of {{file}}: {other_key} does not belong to *",
    )
    yield {"ca": garbage}, f"tls: check ca_cert in [tls] of {{file}}: {garbage}: should hold *"
    yield (
        {"certificate": (missing, key)},
        f"error: {{file}}: tls.certfile: {missing}: No such file or directory",
    )


def test_it_says_why_it_cannot_connect(
    bus: Bus, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    for toml, expected in refusals(bus.broker, certificates, bus.directory):
        file = bus.broker.fedora_toml(bus.directory / "refused.toml", **toml)
        source = AmqpSource("fedora", settings(file), bus.queue)
        with running(source, Recorder(), connected=False):
            wait_for_problem(source, expected.replace("{file}", str(file)))
        assert source.connection.connects == 0
    for secret in ("-horse", "BEGIN"):
        assert secret not in caplog.text


NOT_AMQP = [
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"\1\0\0\0\0\0\0?",  # a frame that does not end as frames do
    b"\1\0\0\0\0\0\4\xff\xff\xff\xff\xce",  # a method that there is not
    b"\2\0\0\0\0\0\1\0\xce",  # headers that are too short
    b"\0" * 8 + b"\xce" * 8,
]


@pytest.mark.parametrize("says", NOT_AMQP)
def test_a_server_that_does_not_speak_amqp_is_reported(bus: Bus, says: bytes) -> None:
    def answer() -> None:
        client, _ = server.accept()
        with client:
            client.recv(100)
            client.sendall(says)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer)
        thread.start()
        source = bus.source(tls=False, port=server.getsockname()[1])
        with running(source, Recorder(), connected=False):
            thread.join(10)
            wait_for_problem(source, "network: no AMQP there, *")


def test_a_certificate_renewed_on_disk_is_used_at_the_next_connection(
    bus: Bus, certificates: Certificates
) -> None:
    recorder = Recorder()
    pair = bus.directory / "client.pem", bus.directory / "client.key"
    install(certificates.untrusted_client("fedora"), pair)
    with running(bus.source(certificate=pair), recorder, connected=False) as source:
        wait_until(lambda: source.connection.failures[Cause.TLS], what="the refusal")
        install(certificates.client("fedora"), pair)
        wait_until(lambda: source.connection.connected, what="the connection")
        bus.numbered(range(100))
        recorder.wait_for(100)
    assert recorder.numbers() == once(100)


def install(pair: tuple[Path, Path], target: tuple[Path, Path]) -> None:
    for source, copy in zip(pair, target, strict=True):
        shutil.copy(source, copy)


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


def test_a_bus_that_hangs_holds_up_no_other(bus: Bus) -> None:
    gate, recorder = Gate(Recorder()), Recorder()
    other = Bus(bus.broker, bus.directory, f"{bus.root}-other", str(uuid4()))
    with running(bus.source(), gate), running(other.source(), recorder):
        bus.numbered([0])
        assert gate.reached.wait(10)
        other.numbered(range(100))
        recorder.wait_for(100)
        gate.open.set()
