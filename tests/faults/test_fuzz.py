"""Whatever comes, from the bytes of a library to /metrics: no crash, and one series for each."""

import struct
from collections.abc import Sequence
from contextlib import closing
from types import SimpleNamespace

import pika
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pika.adapters.twisted_connection import ReceivedMessage
from pika.frame import Header
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from stomp.utils import Frame

from busmon.ledger import Ledger
from busmon.message import Message
from busmon.metrics import Metrics, make_registry
from busmon.monitor import OTHER, Monitor
from busmon.rules import rule_book
from busmon.settings import Rules, StompBus
from busmon.sources import Link, amqp, mqtt, payload, stomp, wire
from busmon.sources.amqp_frames import read_frame
from busmon.sources.mqtt_packets import Packet, read_publish
from tests.test_wire import bodies, encodings, headers

PACKIT = rule_book("packit", Rules())
TOPICS = [topic for topic, _ in PACKIT.known()]
ROOM = 2  # unknown topics

short = st.text(max_size=20) | st.binary(max_size=255) | st.sampled_from(["", "a" * 255, "\0"])
topics = st.sampled_from(TOPICS) | short
moments = st.floats(0, 2e9)


@st.composite
def by_amqp(draw: st.DrawFn) -> Message:
    properties = pika.BasicProperties(
        headers=draw(headers),
        content_encoding=draw(encodings),
        message_id=draw(st.none() | short),
    )
    method = SimpleNamespace(routing_key=draw(topics), redelivered=draw(st.booleans()))
    delivery = ReceivedMessage(None, method, properties, draw(bodies))
    return amqp.to_message("bus", delivery, draw(moments))


@st.composite
def by_mqtt(draw: st.DrawFn) -> Message:
    topic = draw(st.binary(max_size=300) | st.sampled_from(TOPICS).map(str.encode))
    packet = Packet(
        topic, draw(bodies), mid=draw(st.integers(0, 65535)), qos=draw(st.integers(0, 1))
    )
    packet = packet._replace(dup=draw(st.booleans()), retain=draw(st.booleans()))
    return mqtt.to_message("bus", packet, draw(st.sampled_from([(), ("copr",)])), draw(moments))


STOMP = StompBus(type="stomp", rules="packit", brokers=["broker:1"], destinations=["/topic/a"])
HEADERS = ["destination", "original-destination", "message-id", "timestamp", "redelivered"]
values = st.text(max_size=300) | st.sampled_from(["true", "9" * 5000, "/topic/a", *TOPICS])


@st.composite
def by_stomp(draw: st.DrawFn) -> Message:
    said = draw(st.dictionaries(st.sampled_from(HEADERS), values))
    frame = Frame("MESSAGE", {"subscription": "/topic/a"} | said, draw(st.none() | bodies))
    server = draw(st.sampled_from(["ActiveMQ/5", "RabbitMQ/3", ""]))
    return stomp.message_of(frame, "bus", STOMP, server=server, received_at=draw(moments))


# A topic's length that may be right, and after it much that means something.
plausible = st.builds(
    lambda size, rest: bytes([0, size, *rest]),
    st.integers(0, 5),
    st.lists(st.integers(0, 3), max_size=10),
)

SOURCES = (wire.REJECTIONS, payload.REJECTIONS)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(st.lists(by_amqp() | by_mqtt() | by_stomp(), min_size=1, max_size=6), max_size=4))
def test_every_message_is_in_exactly_one_series(batches: Sequence[Sequence[Message]]) -> None:
    with closing(Ledger(":memory:")) as ledger:
        metrics = Metrics(ledger, {"bus": Link()}, "1")
        rejections = {"bus": [verdict for source in SOURCES for verdict in source]}
        monitor = Monitor(ledger, {"bus": PACKIT}, rejections, ROOM, metrics.observe)
        for batch in batches:
            monitor.handle(batch)
        exposed = generate_latest(make_registry(metrics)).decode()
        duplicates = ledger.duplicates().total()
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposed)
        for sample in family.samples
    }
    counted = {series: n for series, n in samples.items() if series[0] == "busmon_messages_total"}
    assert sum(counted.values()) + duplicates == sum(map(len, batches))
    topics = {dict(labels)["topic"] for _, *labels in counted}
    assert len(topics - {OTHER, *TOPICS}) <= ROOM


@given(header=st.integers(0x30, 0x3F), body=st.binary(max_size=20) | plausible, five=st.booleans())
def test_what_is_read_of_a_publish_is_all_that_it_says(
    header: int, body: bytes, *, five: bool
) -> None:
    packet = read_publish(header, bytearray(body), five=five)
    if packet:
        said = len(packet.topic).to_bytes(2) + packet.topic
        said += packet.mid.to_bytes(2) if packet.qos else b""
        said += b"\0" if five else b""
        assert (said + packet.payload, packet.topic != b"") == (body, True)
        assert 0x30 | packet.dup << 3 | packet.qos << 1 | packet.retain == header


@settings(deadline=None)
@given(table=st.binary(max_size=200), identity=st.text(max_size=50), rest=st.binary(max_size=20))
def test_headers_of_any_bytes_leave_the_rest_of_the_frame_readable(
    table: bytes, identity: str, rest: bytes
) -> None:
    properties = pika.BasicProperties(content_type="a", headers={"": None}, message_id=identity)
    encoded = b"".join(properties.encode())
    encoded = encoded.replace(b"\0\0\0\2\0V", struct.pack(">L", len(table)) + table, 1)
    payload_ = struct.pack(">HHQ", 60, 0, 7) + encoded
    frame = struct.pack(">BHL", 2, 1, len(payload_)) + payload_ + b"\xce"
    length, found = read_frame(frame + rest)
    assert (length, type(found), found.body_size) == (len(frame), Header, 7)
    assert found.properties.message_id == identity


def test_a_hundred_thousand_topics_are_as_many_series_as_are_allowed() -> None:
    with closing(Ledger(":memory:")) as ledger:
        monitor = Monitor(ledger, {"bus": rule_book("all", Rules())}, {"bus": []}, 200, [].append)
        for start in range(0, 100_000, 500):
            monitor.handle(
                [
                    Message(bus="bus", id=str(n), topic=f"topic.{n}", received_at=1.0)
                    for n in range(start, start + 500)
                ]
            )
        tallies = ledger.tallies()
    assert len(tallies) == 201
    assert sum(tally.messages for tally in tallies.values()) == 100_000
