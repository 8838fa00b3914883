"""AMQP's frames: from a broker's bytes to deliveries and methods, without a socket.

pika makes three objects of each delivery and passes them through a dozen functions, which
costs three times as much. And on headers such as a time past the year 9999, or lists a
thousand deep, pika raises while it decodes. Fedora's listener loses its connection then,
and again when the message comes back; busmon counts such a message as what ends the listener.
"""

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from pika import frame
from pika.spec import (
    FRAME_BODY,
    FRAME_END,
    FRAME_HEADER,
    FRAME_HEARTBEAT,
    FRAME_METHOD,
    Basic,
    BasicProperties,
)

from busmon.sources.base import ProtocolError
from busmon.sources.body import BodyBuffer

FRAME_MAX = 131072  # bytes of a frame that busmon allows: RabbitMQ's default
FRAME = struct.Struct(">BHL")  # type, channel, and size of the payload, which FRAME_END follows
OVERHEAD = FRAME.size + 1
DELIVER = struct.pack(">L", Basic.Deliver.INDEX)  # the first bytes of that method's payload
TAG = struct.Struct(">QB")  # the delivery's number, and whether it is redelivered
HEADER = struct.Struct(">4xQ")  # before the properties: the body's size

# {"fedora_messaging_schema": {}}: get_message() raises on it as it does on such headers.
NAME = b"fedora_messaging_schema"
UNREADABLE = struct.pack(f">LB{len(NAME)}scL", len(NAME) + 6, len(NAME), NAME, b"F", 0)


class Delivery(NamedTuple):
    """A message as the broker delivered it.

    `size` is the whole body's, in bytes; `body` is as BodyBuffer keeps it.
    """

    tag: int
    redelivered: bool
    routing_key: bytes
    properties: BasicProperties
    body: bytes
    size: int


class FrameReader:
    """Keeps at most one incomplete frame, and of one incomplete delivery a bounded part."""

    def __init__(self) -> None:
        self.frame_max = FRAME_MAX  # bytes
        self._rest = b""  # of an incomplete frame
        self._method: tuple[int, bool, bytes] | None = None  # of an incomplete delivery
        self._properties: BasicProperties | None = None
        self._body = BodyBuffer()
        self._missing = 0  # bytes of the body

    @property
    def incomplete(self) -> bool:
        """Whether a frame or a delivery has begun and not ended."""
        return bool(self._rest or self._method)

    def feed(self, data: bytes) -> Iterator[Any]:
        """Yield each Delivery and each method that this completes; raises ProtocolError."""
        data = self._rest + data
        start, end = 0, len(data)
        while end - start > FRAME.size:
            kind, _channel, size = FRAME.unpack_from(data, start)
            if size > self.frame_max - OVERHEAD or not FRAME_METHOD <= kind <= FRAME_HEARTBEAT:
                raise ProtocolError(f"no frame of AMQP: {data[start : start + FRAME.size]!r}")
            last = start + FRAME.size + size
            if last >= end:
                break
            if data[last] != FRAME_END:
                raise ProtocolError("a frame without its end")
            if found := self._take(kind, data[start + FRAME.size : last]):
                yield found
            start = last + 1
        self._rest = data[start:]

    def _take(self, kind: int, payload: bytes) -> Any:
        """Return what the frame completes, if anything."""
        try:
            if kind == FRAME_METHOD:
                return self._take_method(payload)
            if kind == FRAME_HEADER:
                return self._take_header(payload)
            if kind == FRAME_BODY:
                return self._take_body(payload)
        except (ValueError, LookupError, struct.error) as error:
            raise ProtocolError(f"a frame that cannot be read: {error!r}") from error
        return None  # a heartbeat

    def _take_method(self, payload: bytes) -> Any:
        if not payload.startswith(DELIVER):
            return _decode_method(payload)
        if self._method:
            raise ProtocolError("a message before the end of another")
        self._method = _read_deliver(payload)
        return None

    def _take_header(self, payload: bytes) -> Delivery | None:
        if not self._method or self._properties:
            raise ProtocolError("properties of no message")
        (self._missing,) = HEADER.unpack_from(payload)
        self._properties = _read_properties(payload[HEADER.size :])
        return self._complete() if not self._missing else None

    def _take_body(self, payload: bytes) -> Delivery | None:
        if not self._properties or not payload:
            raise ProtocolError("a body of no message")
        self._missing -= len(payload)
        if self._missing < 0:
            raise ProtocolError("a body that is longer than its header says")
        self._body.add(payload)
        return self._complete() if not self._missing else None

    def _complete(self) -> Delivery:
        tag, redelivered, routing_key = self._method or (0, False, b"")
        body, size = self._body.kept(), self._body.size
        delivery = Delivery(tag, redelivered, routing_key, self._properties, body, size)
        self._method = self._properties = None
        self._body = BodyBuffer()
        return delivery


def _decode_method(payload: bytes) -> Any:
    whole = FRAME.pack(FRAME_METHOD, 0, len(payload)) + payload + bytes([FRAME_END])
    try:
        return frame.decode_frame(whole)[1].method
    except Exception as error:
        raise ProtocolError(f"a method that cannot be read: {error!r}") from error


def _read_deliver(payload: bytes) -> tuple[int, bool, bytes]:
    """Return the tag, whether it is redelivered, and the routing key of a Basic.Deliver."""
    start = len(DELIVER)
    start += 1 + payload[start]  # the consumer's tag
    tag, bits = TAG.unpack_from(payload, start)
    start += TAG.size
    start += 1 + payload[start]  # the exchange
    return tag, bool(bits & 1), payload[start + 1 : start + 1 + payload[start]]


def _read_properties(encoded: bytes) -> BasicProperties:
    """Return a message's properties; headers that pika can't read are replaced by UNREADABLE."""
    properties = BasicProperties()
    try:
        properties.decode(encoded)
    except Exception:  # noqa: BLE001 - whatever it is, the message comes again and again
        properties.decode(_with_other_headers(encoded))
    return properties


def _with_other_headers(encoded: bytes) -> bytes:
    (flags,) = struct.unpack_from(">H", encoded)
    start = 2
    for flag in (BasicProperties.FLAG_CONTENT_TYPE, BasicProperties.FLAG_CONTENT_ENCODING):
        start += 1 + encoded[start] if flags & flag else 0
    (size,) = struct.unpack_from(">L", encoded, start)
    return encoded[:start] + UNREADABLE + encoded[start + 4 + size :]
