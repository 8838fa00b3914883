"""Any bytes, in any pieces: each reader finds what was sent, and breaks with a reason only."""

import struct
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pika
from hypothesis import example, given
from hypothesis import strategies as st
from pika.frame import Body, Header, Heartbeat, Method
from pika.spec import FRAME_END
from stomp.utils import parse_frame

from busmon.message import TOO_LARGE
from busmon.sources import json_body
from busmon.sources.amqp import source as amqp_source
from busmon.sources.amqp.frames import FRAME_MAX, Delivery
from busmon.sources.amqp.frames import FrameReader as AmqpReader
from busmon.sources.base import ProtocolError
from busmon.sources.mqtt.packets import (
    Control,
    Kind,
    PacketReader,
    Publish,
    write_packet,
    write_properties,
)
from busmon.sources.stomp.frames import Frame
from busmon.sources.stomp.frames import FrameReader as StompReader


@st.composite
def in_pieces(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """Return the same bytes in pieces, as from a socket."""
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[start:end] for start, end in pairwise([0, *cuts, len(data)])]


publishes = st.builds(
    Publish,
    topic=st.binary(min_size=1, max_size=300),
    payload=st.binary(max_size=300),
    size=st.just(0),
    mid=st.integers(1, 65535),
    qos=st.integers(0, 2),
    retain=st.booleans(),
    dup=st.booleans(),
).map(lambda it: it._replace(size=len(it.payload), mid=it.mid if it.qos else 0))


def encoded(publish: Publish, properties: bytes | None) -> bytes:
    """As a broker sends it; without properties, of version 3.1.1."""
    body = len(publish.topic).to_bytes(2) + publish.topic
    body += publish.mid.to_bytes(2) if publish.qos else b""
    body += b"" if properties is None else write_properties(properties)
    flags = publish.dup << 3 | publish.qos << 1 | publish.retain
    return write_packet(Kind.PUBLISH, body + publish.payload, flags)


@given(
    st.lists(st.tuples(publishes, st.binary(max_size=300)), max_size=8), st.booleans(), st.data()
)
def test_every_publish_is_read_out_of_the_stream_whatever_its_properties(
    sent: Sequence[tuple[Publish, bytes]], five: bool, data: st.DataObject
) -> None:
    ping = write_packet(Kind.PINGRESP)
    stream = [encoded(one, properties if five else None) + ping for one, properties in sent]
    reader = PacketReader(five=five)
    pieces = data.draw(in_pieces(b"".join(stream)))
    found = [packet for piece in pieces for packet in reader.feed(piece)]
    assert found == [packet for one, _ in sent for packet in (one, Control(Kind.PINGRESP, b""))]
    assert not reader.incomplete


short_text = st.text(max_size=20)
delivered = st.builds(
    lambda body, **said: Delivery(body=body, size=len(body), **said),
    tag=st.integers(0, 2**64 - 1),
    redelivered=st.booleans(),
    routing_key=st.binary(max_size=255),
    properties=st.builds(
        pika.BasicProperties,
        content_encoding=st.none() | short_text,
        headers=st.none() | st.dictionaries(short_text, st.booleans() | short_text),
        message_id=st.none() | short_text,
    ),
    body=st.binary(max_size=40) | st.just(bytes([FRAME_END]) * 9),
)
methods = st.sampled_from(
    [pika.spec.Basic.Cancel("tag"), pika.spec.Channel.Close(404, "NOT_FOUND", 0, 0)]
)
between = st.just(Heartbeat()) | st.builds(Method, st.just(1), methods)


def frames(message: Delivery, names: tuple[str, str], size: int) -> list[bytes]:
    """Return it as a broker sends it that allows frames of so many bytes."""
    tag, redelivered, key, properties, body, _ = message
    method = pika.spec.Basic.Deliver(names[0], tag, redelivered, names[1], key)
    parts = [Body(1, body[start : start + size]) for start in range(0, len(body), size)]
    whole = [Method(1, method), Header(1, len(body), properties), *parts]
    return [frame.marshal() for frame in whole]


@given(
    st.lists(delivered | between, max_size=8),
    st.tuples(short_text, short_text),
    st.integers(1, 50),
    st.data(),
)
def test_every_delivery_and_every_method_is_read_out_of_the_stream(
    sent: Sequence[Any], names: tuple[str, str], size: int, data: st.DataObject
) -> None:
    expected = [
        one if isinstance(one, Delivery) else one.method
        for one in sent
        if not isinstance(one, Heartbeat)
    ]
    stream = [
        frame
        for one in sent
        for frame in (frames(one, names, size) if isinstance(one, Delivery) else [one.marshal()])
    ]
    reader = AmqpReader()
    pieces = data.draw(in_pieces(b"".join(stream)))
    assert [found for piece in pieces for found in reader.feed(piece)] == expected


def test_of_a_body_that_is_not_read_only_the_beginning_is_kept() -> None:
    size = 8 * json_body.MAX_BODY_BYTES
    part = bytes(FRAME_MAX // 2)
    reader = AmqpReader()
    method = Method(1, pika.spec.Basic.Deliver("", 1, False, "", "key"))
    list(reader.feed(method.marshal() + Header(1, size, pika.BasicProperties()).marshal()))
    taken: list[Any] = []
    for _ in range(size // len(part)):
        taken += reader.feed(Body(1, part).marshal())
    [delivery] = taken
    assert json_body.MAX_BODY_BYTES < len(delivery.body) < json_body.MAX_BODY_BYTES + 100
    message = amqp_source.to_message("bus", delivery, 1.0)
    assert (message.size, message.rejected) == (size, TOO_LARGE)


@given(table=st.binary(max_size=200), identity=st.text(max_size=50), rest=st.binary(max_size=20))
@example(table=b"\x16\0\0\0", identity="00\x80\x80\x80\x80𐀀𐀀t\x80", rest=b"")
def test_headers_of_any_bytes_leave_the_rest_of_a_message_readable(
    table: bytes, identity: str, rest: bytes
) -> None:
    properties = pika.BasicProperties(content_type="a", headers={"": None}, message_id=identity)
    encoded = b"".join(properties.encode())
    encoded = encoded.replace(b"\0\0\0\2\0V", struct.pack(">L", len(table)) + table, 1)
    with suppress(Exception):  # what pika can read of it, even past the end of the headers
        identity = pika.BasicProperties().decode(encoded).message_id
    payload_ = struct.pack(">HHQ", 60, 0, len(rest)) + encoded
    header = struct.pack(">BHL", 2, 1, len(payload_)) + payload_ + bytes([FRAME_END])
    method = Method(1, pika.spec.Basic.Deliver("tag", 1, False, "", "key")).marshal()
    body = Body(1, rest).marshal() if rest else b""
    taken = list(AmqpReader().feed(method + header + body))
    assert [(one.properties.message_id, one.body) for one in taken] == [(identity, rest)]


stomp_frames = st.tuples(
    st.lists(st.text("ab:-é\\rnc\t", min_size=1, max_size=9), max_size=3),
    st.binary(max_size=40) | st.just(b"\0\n\n\0"),
    st.sampled_from(["", "\n", "\n\n\r\n"]),
)


@given(st.lists(stomp_frames, max_size=8), st.sampled_from(["\n", "\r\n"]), st.data())
def test_every_frame_is_found_whatever_is_in_it_and_between(
    sent: Sequence[tuple[list[str], bytes, str]], end: str, data: st.DataObject
) -> None:
    whole, stream = [], b""
    for names, body, heartbeats in sent:
        length = [f"content-length:{len(body)}"] if b"\0" in body or len(names) % 2 else []
        head = end.join(["MESSAGE", *(f"x{name}:1:\\c" for name in names), *length, "", ""])
        said = parse_frame(head.encode() + body)
        said.headers.pop("content-length", None)
        whole.append(Frame(said.cmd, said.headers, body, len(body)))
        stream += head.encode() + body + b"\0" + heartbeats.encode()
    reader = StompReader({name for frame in whole for name in frame.headers})
    cut = [frame for piece in data.draw(in_pieces(stream)) for frame in reader.feed(piece)]
    assert cut == whole


@given(st.lists(st.binary(max_size=100), max_size=5))
def test_garbage_breaks_no_reader(pieces: Sequence[bytes]) -> None:
    reader = StompReader(["a"])
    with suppress(ProtocolError):
        cut = [frame for piece in pieces for frame in reader.feed(piece)]
        assert sum(len(frame.body) for frame in cut) <= sum(map(len, pieces))
    for other in (AmqpReader(), PacketReader(five=True), PacketReader(five=False)):
        with suppress(ProtocolError):
            for piece in pieces:
                list(other.feed(piece))
