"""Every message once, whatever is in it."""

import re
import socket
from typing import Any

import pytest

from busmon.sources.json_body import NOT_JSON, NOT_OBJECT, NOT_UTF8
from tests.support.pretenders import secret_of
from tests.support.sources import Recorder, once
from tests.support.stomp import Broker, both_brokers, bus, numbered, running, subscribed


@pytest.mark.usefixtures("patient_end")
@pytest.mark.parametrize(
    ("broker", "published", "subscribed", "settings"),
    [
        ("activemq", "/topic/test.durable", None, {"client_id": "exact"}),
        (
            "activemq",
            "/topic/VirtualTopic.eng.brew",
            "/queue/Consumer.busmon.1234.VirtualTopic.eng.>",
            {"ack": "client-individual", "topic_header": "original-destination"},
        ),
        ("rabbitmq", "/topic/test.durable", None, {"client_id": "exact"}),
        ("rabbitmq", "/queue/test.exact", None, {"ack": "client-individual"}),
    ],
    indirect=["broker"],
)
def test_5000_messages_are_counted_even_those_sent_while_it_is_down(
    broker: Broker, published: str, subscribed: str | None, settings: dict[str, Any]
) -> None:
    watched = bus(broker.port, subscribed or published, **broker.settings, **settings)
    recorder = Recorder()
    with broker.publisher() as publisher:
        with running(watched, recorder):
            publisher.send(published, *numbered(range(2000)))
            recorder.wait_for(1000)
        assert len(recorder.counted) < 5000
        publisher.send(published, *numbered(range(2000, 5000)))
        with running(watched, recorder):
            recorder.wait_for(5000)
    assert recorder.numbers() == once(5000)
    assert recorder.duplicates == 0  # all that was counted had been acknowledged before the end
    assert {message.topic for message in recorder.counted} == {re.sub("^/[^/]+/", "", published)}
    with running(watched, recorder), broker.publisher() as publisher:
        publisher.send(published, {"n": 5000})
        recorder.wait_for(5001)
    assert recorder.numbers() == once(5001)
    assert recorder.duplicates == 0


@pytest.mark.usefixtures("patient_end")
@both_brokers
@pytest.mark.parametrize("ack", ["client", "client-individual"])
def test_every_subscription_of_a_session_is_acknowledged(broker: Broker, ack: str) -> None:
    destinations = ["/queue/test.one", "/topic/test.two", "/queue/test.three"]
    settings = broker.settings | {"destinations": destinations, "client_id": "all", "prefetch": 7}
    watched = bus(broker.port, ack=ack, **settings)
    recorder = Recorder()
    for start in (0, 150):
        with running(watched, recorder) as source, broker.publisher() as publisher:
            for number in range(start, start + 150, 5):
                destination = destinations[number // 5 % 3]
                publisher.send(destination, *numbered(range(number, number + 5)))
            recorder.wait_for(start + 150)
        assert +source.connection.disconnects == {}
    assert recorder.numbers() == once(300)
    assert recorder.duplicates == 0


@both_brokers
def test_bodies_that_are_no_json_object_are_counted_with_the_reason(broker: Broker) -> None:
    bodies = [b"\xff", b"not json", b"[1]", b"\0", b"", b'{"n": 1}', b'{"n": 1}']
    recorder = Recorder()
    queue = "/queue/test.bodies"
    with running(bus(broker.port, queue, **broker.settings), recorder):
        with broker.publisher() as publisher:
            publisher.send(queue, *bodies)
        recorder.wait_for(len(bodies))
    assert [message.unreadable for message in recorder.counted] == [
        NOT_UTF8,
        NOT_JSON,
        NOT_OBJECT,
        NOT_JSON,
        NOT_JSON,
        None,
        None,
    ]
    assert [message.size for message in recorder.counted] == [len(body) for body in bodies]
    assert [message.body for message in recorder.counted[-2:]] == [{"n": 1}, {"n": 1}]


def test_a_message_that_comes_with_heartbeats_before_it_is_received() -> None:
    """As after a pause of the reader; line ends in a body, also after a NUL, stay."""
    recorder = Recorder()
    bodies = [b'{"n": 0}', b'{"n":\n\n1}', b"\0\n\n{}", b'{"n": 2}']
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = bus(listener.getsockname()[1], "/queue/x")
        with running(settings, recorder, connected=False), subscribed(listener) as (client, asked):
            secret = secret_of(asked)
            for number, body in enumerate(bodies):
                headers = f"subscription:{secret}/queue/x\nmessage-id:{number}\nack:{number}"
                frame = f"MESSAGE\n{headers}\ncontent-length:{len(body)}\n\n".encode() + body
                for piece in (b"\n\n\n" + frame + b"\0\n", b"\r\n\n"):
                    client.sendall(piece)
                recorder.wait_for(number + 1)
    assert [message.get("n") for message in recorder.counted] == [0, 1, None, 2]
    assert recorder.counted[2].unreadable
