"""MQTT's packets, of 3.1.1 and 5: from a broker's bytes and back, without a socket.

Of the dozen packets a subscriber needs, a PUBLISH is read as it arrives: its properties are
skipped, since none is of use here, and of its payload a bounded part is kept. (mqtt5, the
codec without a socket, speaks version 5 only, and wants a whole packet in memory.)
"""

import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

from busmon.sources.base import ProtocolError
from busmon.sources.body import BodyBuffer

MAX_CONTROL_BYTES = 256 * 1024  # of a packet that is no PUBLISH
MAX_HEAD_BYTES = 2 + 65535 + 2 + 4  # of a PUBLISH: topic, packet id, length of the properties
RETAIN_IF_NEW = 1 << 4  # retained messages only if the subscription is new: else they were seen


# CONNACK's codes of 3.1.1, in those of 5.
OF_311 = {b"\1": 132, b"\2": 133, b"\3": 136, b"\4": 134, b"\5": 135}


class Kind(IntEnum):
    """The types of packets."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14


class Publish(NamedTuple):
    """A PUBLISH. `mid` is its packet id; with QoS 0 it has none.

    `size` is the whole payload's, in bytes; `payload` is as BodyBuffer keeps it.
    """

    topic: bytes
    payload: bytes
    size: int
    mid: int = 0
    qos: int = 0
    retain: bool = False
    dup: bool = False


class Connack(NamedTuple):
    """The answer to a CONNECT; `code` is a reason code of version 5."""

    session_present: bool
    code: int
    keepalive: int | None = None  # seconds, if the broker demands others


class Control(NamedTuple):
    """Any other packet: its type and what follows its length."""

    kind: int
    body: bytes


class _Head(NamedTuple):
    """What is before the payload of a PUBLISH."""

    topic: bytes
    mid: int
    flags: int

    @property
    def qos(self) -> int:
        return self.flags >> 1 & 3


class PacketReader:
    """Keeps at most one incomplete packet that is small, and a bounded part of a PUBLISH."""

    def __init__(self, *, five: bool) -> None:
        self._five = five
        self._rest = b""  # of a packet, or of the head of a PUBLISH
        self._head: _Head | None = None  # of a PUBLISH whose payload is incomplete
        self._skip = self._missing = 0  # bytes of its properties, and of its payload
        self._body = BodyBuffer()

    @property
    def incomplete(self) -> bool:
        """Whether a packet has begun and not ended."""
        return bool(self._rest or self._head)

    def feed(self, received: bytes) -> Iterator[Publish | Control]:
        """Yield each packet that this completes; raises ProtocolError."""
        data = self._rest + received
        start = 0
        while start < len(data):
            if not self._head:
                header = _read_header(data, start)
                if not header:
                    break
                first, end = header
                if data[start] >> 4 != Kind.PUBLISH:
                    if end > len(data):
                        break
                    yield Control(data[start] >> 4, data[first:end])
                    start = end
                    continue
                payload = self._begin(data, start, first, end)
                if payload is None:
                    break
                start = payload
            start = self._read_payload(data, start)
            if self._head and not self._skip and not self._missing:
                yield self._take(self._head)
        self._rest = data[start:]

    def _begin(self, data: bytes, start: int, first: int, end: int) -> int | None:
        """Read the head of a PUBLISH, and return where it ends; None: it is incomplete."""
        known = data[first : min(end, first + MAX_HEAD_BYTES)]
        try:
            head, skip, size = _read_head(data[start], known, five=self._five)
        except IndexError:
            if first + len(known) == end or len(known) == MAX_HEAD_BYTES:
                raise ProtocolError("a PUBLISH that ends too early") from None
            return None
        self._skip, self._missing = skip, end - first - size - skip
        if self._missing < 0:
            raise ProtocolError("properties that are longer than their PUBLISH")
        self._head = head
        return first + size

    def _read_payload(self, data: bytes, start: int) -> int:
        """Read what there is of the payload; return where to go on."""
        skipped = min(self._skip, len(data) - start)
        self._skip -= skipped
        start += skipped
        end = min(start + self._missing, len(data))
        self._missing -= end - start
        self._body.add(data[start:end])
        return end

    def _take(self, head: _Head) -> Publish:
        payload, size = self._body.kept(), self._body.size
        self._head, self._body = None, BodyBuffer()
        retain, dup = bool(head.flags & 1), bool(head.flags & 8)
        return Publish(head.topic, payload, size, head.mid, head.qos, retain, dup)


def _read_header(data: bytes, start: int) -> tuple[int, int] | None:
    """Return where a packet goes on after its length, and where it ends; None: incomplete."""
    try:
        length, first = _read_length(data, start + 1)
    except IndexError:
        return None
    kind = data[start] >> 4
    if kind != Kind.PUBLISH and length > MAX_CONTROL_BYTES:
        raise ProtocolError(f"a packet of type {kind} with {length} bytes")
    return first, first + length


def _read_head(flags: int, data: bytes, *, five: bool) -> tuple[_Head, int, int]:
    """Return the head of a PUBLISH, the size of its properties, and where these begin.

    Raises IndexError if the data ends before.
    """
    place = 2 + (data[0] << 8 | data[1])
    head, mid, skip = _Head(data[2:place], 0, flags & 15), 0, 0
    if place == 2 or head.qos > 2:
        raise ProtocolError("a PUBLISH without a topic, or of no quality of service")
    if head.qos:
        mid = data[place] << 8 | data[place + 1]
        place += 2
    if five:
        skip, place = _read_length(data, place)
    if place > len(data):
        raise IndexError
    return head._replace(mid=mid), skip, place


def _read_length(data: bytes, start: int) -> tuple[int, int]:
    """Return a number of at most four bytes, and where it ends; IndexError if the data does."""
    number = 0
    for place in range(4):
        byte = data[start + place]
        number |= (byte & 127) << 7 * place
        if byte < 128:
            return number, start + place + 1
    raise ProtocolError("a length that does not end")


def read_connack(body: bytes, *, five: bool) -> Connack:
    """Return what a CONNACK says; a broker of 3.1.1 answers a client of 5 with its own."""
    if len(body) < 2 + five and body[1:] not in OF_311:
        raise ProtocolError("a CONNACK that ends too early")
    if len(body) == 2:
        return Connack(body[0] & 1 > 0, OF_311.get(body[1:], body[1]))
    try:
        return Connack(body[0] & 1 > 0, body[1], _server_keepalive(body))
    except (IndexError, KeyError) as error:
        raise ProtocolError(f"a CONNACK that cannot be read: {error!r}") from None


def read_suback(body: bytes, *, five: bool) -> bytes:
    """Return the code for each topic of a SUBACK."""
    try:
        skip, place = _read_length(body, 2) if five else (0, 2)
    except IndexError:
        raise ProtocolError("a SUBACK that ends too early") from None
    return body[place + skip :]


# What follows the identifier of each property of a CONNACK (MQTT 5, table 2-4): a number of so
# many bytes, or, if 0, that many texts with their lengths.
SIZES = {0x24: 1, 0x25: 1, 0x28: 1, 0x29: 1, 0x2A: 1, 0x13: 2, 0x21: 2, 0x22: 2, 0x11: 4, 0x27: 4}
TEXTS = {0x12: 1, 0x15: 1, 0x16: 1, 0x1A: 1, 0x1C: 1, 0x1F: 1, 0x26: 2}
SERVER_KEEPALIVE = 0x13


def _server_keepalive(body: bytes) -> int | None:
    length, place = _read_length(body, 2)
    end = place + length
    while place < end:
        identifier = body[place]
        place += 1
        if identifier == SERVER_KEEPALIVE:
            return body[place] << 8 | body[place + 1]
        if identifier in SIZES:
            place += SIZES[identifier]
        else:
            for _ in range(TEXTS[identifier]):
                place += 2 + (body[place] << 8 | body[place + 1])
    return None


def write_packet(kind: Kind, body: bytes = b"", flags: int = 0) -> bytes:
    """Return a packet."""
    return bytes([kind << 4 | flags]) + _write_length(len(body)) + body


def write_answer(kind: Kind, mid: int) -> bytes:
    """Return a packet that has a packet id and nothing else."""
    return struct.pack(">BBH", kind << 4 | (2 if kind == Kind.PUBREL else 0), 2, mid)


def write_subscribe(topics: Sequence[str], qos: int, *, five: bool) -> bytes:
    """Return a SUBSCRIBE to these topics, as packet 1."""
    options = bytes([qos | (RETAIN_IF_NEW if five else 0)])
    body = b"\0\1" + (b"\0" if five else b"")
    body += b"".join(write_text(topic) + options for topic in topics)
    return write_packet(Kind.SUBSCRIBE, body, flags=2)


def write_text(text: str) -> bytes:
    """Return a text with its length."""
    encoded = text.encode()
    return struct.pack(">H", len(encoded)) + encoded


def write_properties(properties: bytes) -> bytes:
    """Return properties with their length."""
    return _write_length(len(properties)) + properties


def _write_length(length: int) -> bytes:
    out = bytearray()
    while True:
        length, low = divmod(length, 128)
        out.append(low | (128 if length else 0))
        if not length:
            return bytes(out)
