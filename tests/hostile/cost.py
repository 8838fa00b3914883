"""What it costs to read and judge messages, measured in a process of its own."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pika
from pika.frame import Body, Header, Method

from busmon.message import Message
from busmon.sources.amqp import frames as amqp
from busmon.sources.amqp import source as amqp_source
from busmon.sources.line import CHUNK_BYTES
from busmon.sources.mqtt import packets as mqtt
from busmon.sources.mqtt import source as mqtt_source
from busmon.sources.stomp import frames as stomp
from busmon.sources.stomp import source as stomp_source
from busmon.sources.stomp.session import header_names
from busmon.sources.stomp.settings import StompBus
from tests.support.cpu import slowness

PROJECT = Path(__file__).parents[2]
STOMP = StompBus(type="stomp", rules="all", brokers=("b:1",), destinations=("/topic/a",))


class Cost(NamedTuple):
    """Seconds of CPU time, bytes of memory at the most, and what was said of each message."""

    seconds: float
    bytes: int
    reasons: list[str]


def amqp_message(body: bytes, properties: pika.BasicProperties) -> bytes:
    deliver = Method(1, pika.spec.Basic.Deliver("", 1, False, "", "a"))
    parts = [Body(1, body[at : at + 100_000]) for at in range(0, len(body), 100_000)]
    return b"".join(part.marshal() for part in (deliver, Header(1, len(body), properties), *parts))


def mqtt_message(body: bytes, properties: bytes = b"") -> bytes:
    head = mqtt.write_text("a") + b"\0\1" + mqtt.write_properties(properties)
    return mqtt.write_packet(mqtt.Kind.PUBLISH, head + body, flags=2)


def stomp_message(body: bytes, headers: str = "") -> bytes:
    head = f"MESSAGE\ndestination:/topic/a\nsubscription:a\n{headers}"
    return f"{head}content-length:{len(body)}\n\n".encode() + body + b"\0\n"


WAYS: dict[str, tuple[Callable[[], Any], Callable[[Any], Message]]] = {
    "amqp": (amqp.FrameReader, lambda it: amqp_source.to_message("bus", it, 0.0)),
    "mqtt": (
        lambda: mqtt.PacketReader(five=True),
        lambda it: mqtt_source.to_message("bus", it, 0.0),
    ),
    "stomp": (
        lambda: stomp.FrameReader(header_names(STOMP)),
        lambda it: stomp_source.message_of(it, "bus", STOMP, server="", received_at=0.0),
    ),
}


def read(protocol: str, stream: bytes) -> list[Message]:
    """Return the messages in what a broker sends, as busmon reads it."""
    reader, message_of = WAYS[protocol]
    frames = reader()
    messages = []
    for start in range(0, len(stream), CHUNK_BYTES):
        for frame in frames.feed(stream[start : start + CHUNK_BYTES]):
            message = message_of(frame)
            messages.append(message._replace(body=None))  # as the pipeline drops it
            del message
    return messages


def measure(protocol: str, stream: bytes) -> Cost:
    """Read a stream in a process of its own; what it takes for the stream itself is not counted."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.hostile.cost", protocol],
        input=stream,
        capture_output=True,
        cwd=PROJECT,
        check=True,
    )
    return Cost(*json.loads(done.stdout))


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def _main(arguments: Sequence[str]) -> None:
    stream = sys.stdin.buffer.read()
    first = {
        "amqp": amqp_message(b"{}", pika.BasicProperties(headers={})),
        "mqtt": mqtt_message(b"{}"),
        "stomp": stomp_message(b"{}"),
    }
    read(arguments[0], first[arguments[0]])  # what is loaded at the first message only
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, started = _status("VmRSS"), time.thread_time()
    messages = read(arguments[0], stream)
    seconds = (time.thread_time() - started) / max(1, slowness())
    refused = [message.rejected or message.unreadable for message in messages]
    reasons = [why.reason if why else "" for why in refused]
    print(json.dumps([seconds, _status("VmHWM") - before, reasons]))


if __name__ == "__main__":
    _main(sys.argv[1:])
