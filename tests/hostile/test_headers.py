"""What a publisher writes into headers is not kept until the batch is recorded."""

import socket
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest

from busmon.ledger.batch import Observation, Series
from busmon.ledger.values import stored_id
from busmon.sources.base import ConnectionState
from busmon.sources.line import Broker
from busmon.sources.stomp.frames import Frame
from busmon.sources.stomp.session import StompSession
from busmon.sources.stomp.settings import StompBus
from busmon.sources.stomp.source import message_of
from tests.support.pretenders import secret_of

MESSAGES, HEADER_BYTES = 100, 200_000
SETTINGS = StompBus(type="stomp", rules="all", brokers=("b:1",), destinations=("/queue/a",))
CONNECTED = b"CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\0"
SUBSCRIBED = b"RECEIPT\nreceipt-id:/queue/a\n\n\0"
HEADER = b"x-mine:" + b"x" * HEADER_BYTES


@contextmanager
def broker() -> Iterator[Broker]:
    """A broker that delivers messages with a large header of their publisher."""

    def deliver(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(60)
            for answer in (CONNECTED, SUBSCRIBED):
                secret = secret_of(connection.recv(65536)).encode()
                connection.sendall(answer)
            for number in range(MESSAGES):
                head = b"MESSAGE\nsubscription:%b/queue/a\nmessage-id:%d\nack:%d\n"
                head %= (secret, number, number)
                connection.sendall(head + HEADER + b"\n\n{}\0")
            connection.recv(65536)

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        listener.settimeout(60)
        served = pool.submit(deliver, listener)
        port = listener.getsockname()[1]
        yield Broker(host="127.0.0.1", port=port, context=None, address_setting="brokers")
        served.result()


def test_headers_of_stomp_do_not_wait_for_their_batch() -> None:
    def judge(_frame: Frame, _server: str) -> Observation:
        return Observation(Series("bus", "a", "handled", ""), "1", 0.0)

    with (
        broker() as place,
        closing(StompSession(place, SETTINGS, judge, ConnectionState())) as session,
    ):
        session.open()
        tracemalloc.start()
        try:
            received = 0
            while received < MESSAGES:
                received += len(session.take())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 10 * HEADER_BYTES


@pytest.mark.parametrize("name", ["x" * 1_000_000, "é" * 500_000])
def test_a_long_id_is_kept_as_its_digest(name: str) -> None:
    frame = Frame("MESSAGE", {"destination": "/queue/a", "message-id": name}, b"{}", 2)
    message = message_of(frame, "bus", SETTINGS, server="", received_at=0.0)
    assert len(message.id) < 100
    assert stored_id(message.id) == stored_id(name)
