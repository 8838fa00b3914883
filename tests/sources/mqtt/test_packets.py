"""PUBLISH and PUBACK byte by byte, against sockets that stand in for a broker."""

import socket
import threading
import time

import pytest

from busmon.sources.base import Cause
from tests.support.brokers import wait_until
from tests.support.mqtt import ACCEPTED, SUBSCRIBED, running, scripted, settings_of
from tests.support.sources import Recorder, once, wait_for_problem

ACCEPTED_311 = b"\x20\x02\x00\x00"
SUBSCRIBED_311 = b"\x90\x03\x00\x01\x01"
ENOUGH = 65_535  # packet ids, and acknowledgements to fill the buffers of both sockets


def publish(rest: bytes, *, qos: int = 1, dup: bool = False) -> bytes:
    """Return a PUBLISH; `rest` is all that comes after the length, which is below 128."""
    return bytes([0x30 | dup << 3 | qos << 1, len(rest)]) + rest


def topic(text: str = "a/b") -> bytes:
    return len(text.encode()).to_bytes(2) + text.encode()


PROPERTIES = [
    b"\x00",
    b"\x02\x01\x01",  # payload format indicator
    b"\x05\x02\x00\x00\x00\x09",  # message expiry interval
    b"\x07\x03\x00\x04json",  # content type
    b"\x0c\x26\x00\x01a\x00\x01b\x26\x00\x00\x00\x00",  # user properties
    b"\x80\x00",  # none, with a length that is longer than it should be
]


def test_a_publish_with_properties_is_counted_as_one_without() -> None:
    publishes = b"".join(
        publish(topic() + n.to_bytes(2) + properties + b'{"n": %d}' % n)
        for n, properties in enumerate(PROPERTIES)
    )
    recorder = Recorder()
    with (
        scripted([ACCEPTED, SUBSCRIBED + publishes], then_close=False) as url,
        running(settings_of(url, "busmon"), recorder),
    ):
        recorder.wait_for(len(PROPERTIES))
    assert recorder.numbers() == once(len(PROPERTIES))
    assert {message.topic for message in recorder.counted} == {"a/b"}


MALFORMED = [
    (b"", 0),
    (b"\x00", 0),
    (b"\x00\x09a\x00", 0),  # the topic's length
    (topic(), 1),  # no packet id
    (topic() + b"\x01", 1),
    (topic() + b"\x00\x01\x00{}", 3),  # no such QoS
]
MALFORMED_5 = [
    (topic(), 0),  # no properties' length
    (topic() + b"\x00\x01", 1),
    (topic() + b"\x80", 0),
    (topic() + b"\xff\xff\xff\xff\x7f", 0),
    (topic() + b"\x02\x01", 0),  # properties that end early
]


@pytest.mark.parametrize(
    ("version", "rest", "qos"),
    [
        *(("5", *malformed) for malformed in MALFORMED + MALFORMED_5),
        *(("3.1.1", *malformed) for malformed in [*MALFORMED, (topic("") + b"{}", 0)]),
    ],
)
def test_a_malformed_publish_ends_the_connection_and_loses_nothing(
    version: str, rest: bytes, qos: int
) -> None:
    five = version == "5"
    good = publish(topic() + b"\x00\x07" + (b"\x00" if five else b"") + b'{"n": 0}', dup=True)
    answer = (SUBSCRIBED if five else SUBSCRIBED_311) + good + publish(rest, qos=qos)
    recorder = Recorder()
    with scripted([ACCEPTED if five else ACCEPTED_311, answer]) as url:
        bus = settings_of(url, "busmon", version=version)
        with running(bus, recorder, connected=False) as source:
            wait_for_problem(source, "error: the broker breaks the protocol: check version (*)")
            wait_until(lambda: source.connection.failures[Cause.ERROR], what="the count")
    assert recorder.numbers() == once(1)


def test_acknowledgements_sent_in_parts_arrive_whole_and_in_order() -> None:
    recorder = Recorder()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)  # else it takes 2.5 MB
        bus = settings_of(f"mqtt://127.0.0.1:{listener.getsockname()[1]}", "busmon")
        with running(bus, recorder, connected=False):
            broker, _ = listener.accept()
            with broker:
                for said in (ACCEPTED, SUBSCRIBED):
                    broker.recv(1000)
                    broker.sendall(said)
                ids = [n.to_bytes(2) for n in range(1, ENOUGH + 1)]
                publishes = b"".join(publish(topic() + n + b"\x00{}") for n in ids)
                sender = threading.Thread(target=broker.sendall, args=(publishes,))
                sender.start()
                expected = b"".join(b"\x40\x02" + n for n in ids)
                with broker.makefile("rb") as answers:
                    time.sleep(1)  # in which the buffers of both sockets fill up
                    assert answers.read(len(expected)) == expected
                sender.join()
    assert len(recorder.counted) == ENOUGH
