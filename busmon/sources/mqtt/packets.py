"""PUBLISH and its answer, of which there are thousands a second: what paho is too slow for.

paho makes an MQTTMessage with a lock of each PUBLISH, and an object for the properties that
most do not have, and sends each answer by itself. That took longer than to record it.
"""

import struct
from collections.abc import Callable
from typing import NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode

_ANSWER = struct.Struct("!HH")
_PUBACK, _PUBCOMP = 0x4002, 0x7002  # each with the length of what follows


class Packet(NamedTuple):
    """What a PUBLISH says. `mid` is its packet id; with QoS 0 it has none."""

    topic: bytes
    payload: bytes
    mid: int = 0
    qos: int = 0
    retain: bool = False
    dup: bool = False


class Client(paho.Client):
    """paho's client, which gives each PUBLISH to `on_packet`, and answers many at once.

    paho has no public way to either. Of what is its own there is used: `_handle_publish`,
    which it calls once a PUBLISH is complete, `_in_packet`, which then holds it, and
    `_packet_queue`, which sends bytes as soon as the socket takes them.
    """

    on_packet: Callable[[Packet], None]

    def send(self, answers: bytes) -> None:
        """Send acknowledgements, with one write; no effect if disconnected."""
        if answers:
            self._packet_queue(paho.PUBACK, answers, mid=0, qos=0)

    def _handle_publish(self) -> MQTTErrorCode:
        header, body = self._in_packet["command"], self._in_packet["packet"]
        packet = read_publish(header, body, five=self.protocol == paho.MQTTv5)
        if packet is None:
            return super()._handle_publish()
        self.on_packet(packet)
        return paho.MQTT_ERR_SUCCESS


def read_publish(header: int, body: bytes | bytearray, *, five: bool) -> Packet | None:
    """Return what a PUBLISH says, or None where it is for paho to decide.

    For paho is what is rare: a PUBLISH with properties, one of QoS 2, which only another
    client's subscription can have left in the session, and what breaks the protocol.
    """
    qos = header >> 1 & 3
    topic_end = 2 + int.from_bytes(body[:2])
    start = topic_end + (2 if qos else 0) + (1 if five else 0)  # of the payload
    if topic_end == 2 or qos > 1 or len(body) < start or (five and body[start - 1]):
        return None
    return Packet(
        topic=bytes(body[2:topic_end]),
        payload=bytes(memoryview(body)[start:]),
        mid=int.from_bytes(body[topic_end : topic_end + 2]) if qos else 0,
        qos=qos,
        retain=bool(header & 1),
        dup=bool(header & 8),
    )


def answer_to(packet: Packet) -> bytes:
    """Return the acknowledgement of a PUBLISH; with QoS 0 there is none."""
    if not packet.qos:
        return b""
    return _ANSWER.pack(_PUBACK if packet.qos == 1 else _PUBCOMP, packet.mid)


def packet_of(message: paho.MQTTMessage) -> Packet:
    """Return what paho says of a PUBLISH."""
    return Packet(
        topic=message._topic,  # noqa: SLF001 - `topic` raises where it is not UTF-8
        payload=bytes(message.payload),
        mid=message.mid,
        qos=message.qos,
        retain=message.retain,
        dup=message.dup,
    )
