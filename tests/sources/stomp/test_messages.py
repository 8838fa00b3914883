"""What a message is, once its frame is read."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busmon.message import Message
from busmon.sources.stomp.frames import MAX_LINE_BYTES, Frame, FrameReader, write_frame
from busmon.sources.stomp.source import message_of
from tests.support.stomp import bus


@given(st.text("\\rnc:\r\n"))
def test_a_header_is_read_as_it_was_written(value: str) -> None:
    (frame,) = FrameReader(["header"]).feed(write_frame("MESSAGE", {"header": value}))
    assert frame.headers == {"header": value}


@pytest.mark.parametrize("size", [1_000, 200_000])
def test_of_a_long_header_the_beginning_is_kept(size: int) -> None:
    """However it comes: in pieces of that size."""
    value = "x" * (MAX_LINE_BYTES + 10)
    stream = write_frame("MESSAGE", {"header": value, "other": "y"})
    reader = FrameReader(["header", "other"])
    pieces = (stream[start : start + size] for start in range(0, len(stream), size))
    (frame,) = (frame for piece in pieces for frame in reader.feed(piece))
    kept = value[: MAX_LINE_BYTES - len("header:")]
    assert frame.headers == {"header": kept, "other": "y"}


@pytest.mark.parametrize(
    ("headers", "settings", "topic"),
    [
        ({"destination": "/topic/a.b"}, {}, "a.b"),
        ({"destination": "/queue/a.b"}, {}, "a.b"),
        ({"destination": "/exchange/amq.topic/a.b"}, {}, "a.b"),
        ({"destination": "/topic/VirtualTopic.eng.x"}, {}, "VirtualTopic.eng.x"),
        ({"destination": "/queue/Consumer.c.u.VirtualTopic.eng.x"}, {}, "VirtualTopic.eng.x"),
        ({"destination": "/queue/Consumer.c.other"}, {}, "Consumer.c.other"),
        (
            {
                "destination": "/queue/Consumer.c.u.VirtualTopic.>",
                "original-destination": "/topic/VirtualTopic.eng.x",
            },
            {"topic_header": "original-destination"},
            "VirtualTopic.eng.x",
        ),
        (
            {"destination": "/topic/a", "original-destination": "/topic/VirtualTopic.forged"},
            {},
            "a",
        ),
        ({"destination": "/topic/a", "event": "b"}, {"topic_header": "event"}, "b"),
        ({"destination": "/topic/a"}, {"topic_header": "event"}, "a"),
        ({"destination": "/topic/a.b"}, {"topic_pattern": r"\.(\w+)$"}, "b"),
        ({"destination": "/topic/ab"}, {"topic_pattern": r"\.(\w+)$"}, "/topic/ab"),
        ({}, {}, "subscribed"),
    ],
)
def test_the_topic_is_part_of_a_header(
    headers: dict[str, str], settings: dict[str, Any], topic: str
) -> None:
    assert made(headers, settings).topic == topic


@pytest.mark.parametrize(
    ("timestamp", "sent_at"),
    [
        ("1574000000123", 1574000000.123),
        ("0", None),
        ("", None),
        ("soon", None),
        ("9" * 400, None),
        (None, None),
    ],
)
def test_the_time_of_sending_is_a_header_in_milliseconds(
    timestamp: str | None, sent_at: float | None
) -> None:
    headers = {"destination": "/topic/a"} | ({"timestamp": timestamp} if timestamp else {})
    assert made(headers).sent_at == sent_at


def test_a_message_is_identified_by_a_header_or_its_content() -> None:
    headers = {"destination": "/topic/a", "message-id": "m1", "redelivered": "true"}
    at_activemq = made(headers)
    assert (at_activemq.id, at_activemq.digest_id, at_activemq.redelivered) == ("m1", False, True)
    at_rabbit = made(headers, server="RabbitMQ/3.10.8")
    assert at_rabbit.digest_id
    assert at_rabbit.id == made(headers | {"message-id": "m2"}, server="RabbitMQ/3.10.8").id
    assert at_rabbit.id != made(headers | {"destination": "/b/c"}, server="RabbitMQ/3.10.8").id
    named = headers | {"amqp-message-id": "uuid"}
    assert made(named, server="RabbitMQ/3.10.8").id == "uuid"
    assert made(headers | {"key": "k"}, {"id_header": "key"}, server="RabbitMQ/4").id == "k"
    assert made(headers, {"id_header": "key"}).digest_id


def made(
    headers: dict[str, str], settings: dict[str, Any] | None = None, server: str = "ActiveMQ/5"
) -> Message:
    frame = Frame("MESSAGE", {"subscription": "/topic/subscribed"} | headers, b"{}", 2)
    return message_of(frame, "bus", bus(1, **settings or {}), server=server, received_at=0.0)
