"""Every message once, whatever is in it."""

import json
import re
import struct
from collections.abc import Sequence
from contextlib import closing
from typing import Any
from uuid import uuid4

import pika
import pytest

from busmon.message import Judgement, Message
from busmon.sources import fedora_message
from busmon.sources.amqp import session
from busmon.sources.amqp.source import AmqpSource
from busmon.sources.base import Cause
from busmon.sources.json_body import NOT_JSON, NOT_OBJECT, NOT_UTF8
from tests.samples import FEDORA_FILE
from tests.support.amqp import Bus, settings
from tests.support.brokers import wait_until
from tests.support.brokers.proxy import Proxy
from tests.support.brokers.rabbitmq import EXCHANGE, Publication
from tests.support.listener_process import ListenerProcess
from tests.support.sources import (
    Recorder,
    once,
    running,
)

pytestmark = pytest.mark.usefixtures("patient_end")
RECORDED = [json.loads(line) for line in FEDORA_FILE.read_text().splitlines()]


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


def test_a_message_of_a_schema_that_is_not_installed_says_so(bus: Bus) -> None:
    named = [None, "base.message", "copr.build.start", "koji_fedoramessaging.tag.TagV1"]
    headers = [{"fedora_messaging_schema": name} if name else {} for name in named]
    recorder = Recorder()
    with running(bus.source(), recorder):
        bus.broker.publish(Publication(topic=f"{bus.root}.a", headers=each) for each in headers)
        recorder.wait_for(len(named))
    assert [message.unknown_schema for message in recorder.counted] == [False, False, False, True]


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


def test_a_redelivered_message_without_an_id_is_known_by_its_content(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "GATHER_SECONDS", 1.0)  # so that both come in one batch
    recorder = Recorder()
    twice = [Publication(topic=f"{bus.root}.n", body=PLAIN, message_id=None)] * 2

    def crash_at_first(batch: Sequence[Message]) -> None:
        recorder.crashing = not recorder.counted
        recorder(batch)

    with running(bus.source(), recorder):
        pass
    bus.broker.publish(twice)
    with running(bus.source(), crash_at_first):
        wait_until(lambda: len(recorder.counted) + recorder.duplicates >= 4, what="redelivery")
    assert {(m.digest_id, len(m.id)) for m in recorder.counted} == {(True, 32)}
    assert (len(recorder.counted), recorder.duplicates) == (2, 2)
