"""Brokers that lie: what they send is bounded, has an end in time, and the end has a reason."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pika
import pytest

from busmon.sources import line
from busmon.sources.amqp.settings import AmqpBus
from busmon.sources.amqp.source import AmqpSource
from busmon.sources.base import Cause, Source
from busmon.sources.mqtt.source import MqttSource
from busmon.sources.stomp.settings import StompBus
from busmon.sources.stomp.source import StompSource
from tests.support.brokers import wait_until
from tests.support.mqtt import settings_of
from tests.support.pretenders import AMQP_START, FEDORA_TOML, secret_of
from tests.support.sources import Recorder, running

MIB = 1024**2
BUFFERS = 12 * MIB  # that the two sockets may hold, and busmon's reads of them

Make = Callable[[int], Source]


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Return what makes a source of a protocol for a port on loopback."""

    def made(port: int) -> Source:
        if request.param == "stomp":
            brokers, destinations = (f"127.0.0.1:{port}",), ("/topic/a",)
            bus = StompBus(type="stomp", rules="all", brokers=brokers, destinations=destinations)
            return StompSource("bus", bus)
        if request.param == "mqtt":
            return MqttSource("bus", settings_of(f"mqtt://127.0.0.1:{port}", "busmon"))
        config = tmp_path / "fedora.toml"
        config.write_text(FEDORA_TOML.format(password="secret", port=port))
        return AmqpSource("bus", AmqpBus(type="amqp", rules="all", config=config), "queue")

    return made


@contextmanager
def serving(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """Talk to each client in a thread of its own; yield the port."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = server.accept()
                threading.Thread(target=talk, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextmanager
def lying(says: Callable[[], Iterator[bytes]]) -> Iterator[tuple[int, list[int]]]:
    """Answer the first bytes of each client; yield the port, and how much each one took."""
    taken: list[int] = []

    def talk(client: socket.socket) -> None:
        taken.append(0)
        with client, suppress(OSError):
            client.recv(65536)
            for part in says():
                client.sendall(part)
                taken[-1] += len(part)
            while client.recv(65536):
                pass

    with serving(talk) as port:
        yield port, taken


def endless(part: bytes, first: bytes = b"") -> Callable[[], Iterator[bytes]]:
    def says() -> Iterator[bytes]:
        yield first
        for _ in range(256 * MIB // len(part)):
            yield part

    return says


def amqp_frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BHL", kind, 0, len(payload)) + payload + b"\xce"


DELIVER = pika.frame.Method(1, pika.spec.Basic.Deliver("", 1, False, "", "a")).marshal()
MESSAGE = b"MESSAGE\nsubscription:/topic/a\n\n{}\0"
PUBLISH = b"\x30\x05\0\1a\0{" * 1000
CHUNK = b"x" * 100_000
FLOODS = {
    "a frame of AMQP that announces 4 GiB": ("amqp", CHUNK, b"\1\0\0\xff\xff\xff\xff"),
    "a frame of AMQP beyond the limit": ("amqp", CHUNK, b"\1\0\0\0\2\0\1"),
    "methods of AMQP": ("amqp", AMQP_START * 1000, b""),
    "deliveries of AMQP before the login": ("amqp", DELIVER * 1000, AMQP_START),
    "a body of AMQP for no message": ("amqp", amqp_frame(3, CHUNK), AMQP_START),
    "a head of STOMP without end": ("stomp", CHUNK, b"CONNECTED\n"),
    "headers of STOMP without end": ("stomp", b"a:b\n" * 10_000, b"CONNECTED\n"),
    "a command of STOMP without end": ("stomp", CHUNK, b"MESSAGE"),
    "messages of STOMP before the login": ("stomp", MESSAGE * 1000, b""),
    "frames of STOMP that nobody asked for": ("stomp", b"RECEIPT\n\n\0" * 1000, b""),
    "a length of STOMP that is none": ("stomp", CHUNK, b"CONNECTED\ncontent-length:x\n\n"),
    "a length of STOMP beyond any broker's": (
        "stomp", CHUNK, b"CONNECTED\ncontent-length:99999999999\n\n",
    ),
    "messages of MQTT before the login": ("mqtt", PUBLISH, b""),
    "a packet of MQTT of 256 MB": ("mqtt", CHUNK, b"\x20\xff\xff\xff\x7f"),
    "packets of MQTT that nobody asked for": ("mqtt", b"\x40\2\0\1" * 10_000, b""),
}  # fmt: skip


@pytest.mark.parametrize(
    ("make", "part", "first"), FLOODS.values(), ids=FLOODS.keys(), indirect=["make"]
)
def test_a_flood_is_cut_off_with_a_reason(make: Make, part: bytes, first: bytes) -> None:
    with lying(endless(part, first)) as (port, taken):
        source = make(port)
        with running(source, Recorder(), connected=False):
            cause = first_failure(source)
            problem = str(source.connection.problem())
    assert cause in {Cause.NETWORK, Cause.ERROR, Cause.LOGIN}
    assert any(word in problem for word in ("protocol", "AMQP", "login"))
    assert taken[0] < BUFFERS


def first_failure(source: Source) -> Cause:
    def failures() -> list[Cause]:
        counted = source.connection.failures + source.connection.disconnects
        return [cause for cause, number in counted.items() if number]

    return wait_until(failures, what="a failure")[0]


BEGUN = {
    "amqp": AMQP_START[:20],
    "stomp": b"CONNECTED\nversion:1.2\ncontent-length:9\n\n\0",
    "mqtt": b"\x20\x09\0",
}


@pytest.mark.parametrize("make", BEGUN, indirect=True)
def test_a_frame_has_to_be_complete_in_time(
    make: Make, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Even if the broker goes on to send something."""
    begun = BEGUN[request.node.callspec.params["make"]]
    monkeypatch.setattr(line, "FRAME_TIMEOUT", 0.5)
    with lying(lambda: iter([begun])) as (port, _):
        source = make(port)
        with running(source, Recorder(), connected=False):
            assert first_failure(source) is Cause.SILENT
            assert "a message is not complete within 0.5 s" in str(source.connection.problem())


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (b"content-length:2\n\n{}x\0", "no NUL after a body"),
        (b"content-length:2\n\n{}" + MESSAGE, "no NUL after a body"),
        (b"content-length:-1\n\n{}\0", "content-length:-1"),
        (b"x:y\n\n{}\0", "'MESSAGE' that nobody asked for"),  # nor could it be acknowledged
    ],
)
@pytest.mark.parametrize("make", ["stomp"], indirect=True)
def test_a_frame_of_stomp_that_is_none_ends_the_connection(
    make: Make, says: bytes, reason: str
) -> None:
    login = b"CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\0"
    with lying(lambda: iter([login, b"MESSAGE\n" + says])) as (port, _):
        source = make(port)
        with running(source, Recorder(), connected=False):
            assert first_failure(source) is Cause.NETWORK
            assert reason in str(source.connection.problem())


@pytest.mark.parametrize("make", ["stomp"], indirect=True)
def test_a_message_with_a_forged_one_inside_comes_once(make: Make) -> None:
    """Else the broker would send it again, the forged frame with it, and nothing else."""
    message = b'MESSAGE\nsubscription:%b/topic/a\nack:%d\nmessage-id:%d\n\n{"text":"%b"}\0'
    forged = message % (b"", 3, 3, b"")
    acknowledged = threading.Event()

    def talk(client: socket.socket) -> None:
        with client, suppress(OSError):
            client.recv(65536)
            client.sendall(b"CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\0")
            secret = secret_of(client.recv(65536)).encode()
            client.sendall(b"RECEIPT\nreceipt-id:/topic/a\n\n\0")
            if not acknowledged.is_set():
                client.sendall(message % (secret, 1, 1, b"\0" + forged))
            client.sendall(message % (secret, 2, 2, b""))
            while received := client.recv(65536):
                if b"ACK" in received:
                    acknowledged.set()

    recorder = Recorder()
    with serving(talk) as port, running(make(port), recorder, connected=False):
        wait_until(lambda: len(recorder.counted) == 2, what="the honest message")
    assert [message.id for message in recorder.counted] == ["1", "2"]
