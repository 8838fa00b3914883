"""Takes the deliveries out of what a broker sends, and leaves all else to pika.

In pika each of a delivery's frames goes through a dozen functions, and all of them together
through two queues, which costs three times as much. And on headers such as a time past the
year 9999, or lists a thousand deep, pika raises while it decodes: the consumer loses its
connection, the broker brings the message again, and so for ever. Fedora's listener can't
help it; busmon counts it as what ends the listener, and goes on.
"""

import struct
from collections.abc import Callable
from typing import NamedTuple

from pika.spec import (
    FRAME_BODY,
    FRAME_END,
    FRAME_HEADER,
    FRAME_HEARTBEAT,
    FRAME_METHOD,
    Basic,
    BasicProperties,
)

from busmon.sources.json_body import MAX_BODY_BYTES

FRAME = struct.Struct(">BHL")  # type, channel, and size of the payload, which FRAME_END follows
KINDS = {FRAME_METHOD, FRAME_HEADER, FRAME_BODY, FRAME_HEARTBEAT}
DELIVER = struct.pack(">L", Basic.Deliver.INDEX)  # the payload of that method begins so
TAG = struct.Struct(">QB")  # the delivery's number, and whether it comes again
HEADER = struct.Struct(">4xQ")  # that of a header: the body's size, and then the properties

# {"fedora_messaging_schema": {}}, which get_message() dies of, too.
NAME = b"fedora_messaging_schema"
UNREADABLE = struct.pack(f">LB{len(NAME)}scL", len(NAME) + 6, len(NAME), NAME, b"F", 0)


class Delivery(NamedTuple):
    """A message as the broker delivered it; a body above MAX_BODY_BYTES is cut off there.

    `size` is that of the whole body, in bytes.
    """

    tag: int
    redelivered: bool
    routing_key: bytes
    properties: BasicProperties
    body: bytes
    size: int


class DeliveryReader:
    """Gives `keep` each delivery of a connection with one consumer, which asks for nothing else."""

    def __init__(self, keep: Callable[[Delivery], None]) -> None:
        self._keep = keep
        self._rest = b""  # a frame that is not whole yet
        self._method: tuple[int, bool, bytes] | None = None  # of what is not whole yet
        self._properties = BasicProperties()
        self._body: list[bytes] = []
        self._size = self._missing = 0  # bytes of the body

    def feed(self, data: bytes) -> bytes:
        """Take what the broker sent next, and return what of it pika should know.

        These are whole frames, or whatever it is that is no AMQP. Raises ValueError,
        struct.error or IndexError where a delivery is not what it should be.
        """
        data = self._rest + data
        start, others = 0, []
        while len(data) - start > FRAME.size:
            kind, _channel, size = FRAME.unpack_from(data, start)
            first = start + FRAME.size
            last = first + size
            if kind not in KINDS:
                last = len(data) - 1
            if last >= len(data):
                break
            if data[last] != FRAME_END or not self._take(kind, data, first, last):
                others.append(data[start : last + 1])
            start = last + 1
        self._rest = data[start:]
        return b"".join(others)

    def _take(self, kind: int, data: bytes, first: int, last: int) -> bool:
        """Take the payload between these places, if it is of a delivery."""
        if kind == FRAME_METHOD and data.startswith(DELIVER, first):
            self._method = _method(data, first + len(DELIVER))
            return True
        if kind == FRAME_HEADER and self._method:
            (self._size,) = HEADER.unpack_from(data, first)
            self._missing = self._size
            self._properties = _properties(data[first + HEADER.size : last])
        elif kind == FRAME_BODY and self._method:
            if self._size - self._missing <= MAX_BODY_BYTES:
                self._body.append(data[first:last])
            self._missing -= last - first
        else:
            return False
        if self._missing < 0:
            raise ValueError("a body that is longer than its header says")
        if not self._missing:
            body = b"".join(self._body)
            self._keep(Delivery(*self._method, self._properties, body, self._size))
            self._method, self._body = None, []
        return True


def _method(data: bytes, start: int) -> tuple[int, bool, bytes]:
    """Return the tag, whether it is redelivered, and the routing key of a Basic.Deliver."""
    start += 1 + data[start]  # the consumer's tag
    tag, bits = TAG.unpack_from(data, start)
    start += TAG.size
    start += 1 + data[start]  # the exchange
    return tag, bool(bits & 1), data[start + 1 : start + 1 + data[start]]


def _properties(encoded: bytes) -> BasicProperties:
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
