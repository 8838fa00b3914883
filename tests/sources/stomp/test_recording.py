"""What is acknowledged, when and how."""

import re
import socket
import threading
import time
from collections.abc import Sequence
from uuid import uuid4

import pytest

from busmon.message import Message
from busmon.sources.base import Cause
from busmon.sources.session import MAX_BATCH_BYTES
from busmon.sources.stomp import session
from tests.support.brokers import wait_until
from tests.support.pretenders import secret_of
from tests.support.sources import Recorder, failing_once, once, wait_for_problem
from tests.support.stomp import Broker, both_brokers, bus, numbered, running, subscribed


@both_brokers
def test_what_could_not_be_recorded_comes_again(broker: Broker) -> None:
    recorder = Recorder()
    topic = "/topic/test.full"
    settings = bus(broker.port, topic, client_id="full", **broker.settings)
    with running(settings, recorder) as source, broker.publisher() as publisher:
        recorder.failing = True
        publisher.send(topic, *numbered(range(100)))
        wait_until(lambda: source.connection.disconnects[Cause.LEDGER])
        assert source.connection.problem() == "ledger: disk full"
        recorder.failing = False
        recorder.wait_for(100)
    assert recorder.numbers() == once(100)


@both_brokers
@pytest.mark.parametrize(("what", "at"), [("judge", 20), ("record", 0)])
def test_a_bug_is_survived_and_loses_nothing(broker: Broker, what: str, at: int) -> None:
    recorder = Recorder()
    topic = f"/topic/test.{what}"
    settings = bus(broker.port, topic, client_id=f"buggy-{what}", **broker.settings)
    with running(settings, failing_once(recorder, what, at)) as source:
        with broker.publisher() as publisher:
            publisher.send(topic, *numbered(range(100)))
        recorder.wait_for(100)
        assert source.connection.disconnects[Cause.ERROR] == 1
    assert recorder.numbers() == once(100)


@both_brokers
def test_no_more_is_read_while_what_was_read_is_not_recorded(broker: Broker) -> None:
    """Also asked to stop meanwhile it acknowledges what it has recorded, and no more."""
    size, sizes = 1024**2, list[int]()
    recorder, halfway, stopping = Recorder(), threading.Event(), threading.Event()

    def slowly(messages: Sequence[Message]) -> None:
        batch = list(messages)
        sizes.append(sum(message.size for message in batch))
        time.sleep(0.3)  # in which the broker would send all the rest
        recorder(batch)
        if len(recorder.counted) >= 10:
            halfway.set()
            assert stopping.wait(60)

    queue = f"/queue/test.{uuid4()}"
    watched = bus(broker.port, queue, **broker.settings)
    with broker.publisher() as publisher:
        publisher.send(queue, *({"n": n, "pad": "x" * size} for n in range(30)))
    with running(watched, slowly) as source:
        assert halfway.wait(60)
        source.stop()
        stopping.set()
    assert len(recorder.numbers()) < 30
    with running(watched, slowly) as source:
        recorder.wait_for(30)
        assert source.connection.connects == 1
    assert recorder.numbers() == once(30)
    assert max(sizes) < MAX_BATCH_BYTES + 2 * size


@pytest.mark.usefixtures("patient_end")
def test_a_broker_that_reads_late_has_what_was_recorded_before_a_fault() -> None:
    """busmon waits until it has read that. To close at once would reset the connection."""
    recorder = Recorder()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = bus(listener.getsockname()[1], "/queue/x")
        with (
            running(settings, recorder, connected=False) as source,
            subscribed(listener) as (client, asked),
        ):
            message = f"MESSAGE\nsubscription:{secret_of(asked)}/queue/x\nack:%d\n\n{{}}\0"
            client.sendall((message % 0).encode())
            recorder.wait_for(1)
            recorder.failing = True
            client.sendall((message % 1).encode())
            said = b""
            while b"DISCONNECT" not in said and (part := client.recv(4096)):
                said += part
            assert b"DISCONNECT" in said
            assert not source.connection.disconnects[Cause.LEDGER]
            client.sendall(b"RECEIPT\nreceipt-id:leave\n\n\0")
            wait_until(lambda: source.connection.disconnects[Cause.LEDGER], what="its end")
    assert re.findall(rb"ACK\nid:(\d)", said) == [b"0"]


def test_messages_are_acknowledged_singly_if_the_broker_lost_count() -> None:
    """ActiveMQ, restarted, can send some twice; then it refuses each cumulative acknowledgement."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = bus(listener.getsockname()[1], "/queue/x")
        with running(settings, Recorder(), connected=False):
            for error, ack in ("Unmatched acknowledge: …", "client"), ("…", "client-individual"):
                with subscribed(listener) as (client, asked):
                    client.sendall(f"ERROR\nmessage:{error}\n\n\0".encode())
                assert f"\nack:{ack}\n".encode() in asked


def test_a_message_that_the_broker_sends_twice_is_acknowledged_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ActiveMQ, restarted, does so, and ends the connection at the second acknowledgement.

    It can also keep others back until the next connection, which therefore comes soon.
    """
    monkeypatch.setattr(session, "SETTLE_SECONDS", 0.5)
    recorder = Recorder()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = bus(listener.getsockname()[1], "/queue/x", ack="client-individual")
        with running(settings, recorder, connected=False) as source:
            with subscribed(listener) as (client, asked):
                secret, frames, said = secret_of(asked), "", ""
                for ack, sent in enumerate(["x a", "x b", "x a", "y a", "x c"]):
                    queue, identity = sent.split()  # two destinations may bring the same one
                    headers = (
                        f"subscription:{secret}/queue/{queue}\nmessage-id:{identity}\nack:{ack}"
                    )
                    frames += f"MESSAGE\n{headers}\n\n{{}}\0"
                client.sendall(frames.encode())  # all before the next connection
                while "\nid:4\n" not in said:
                    part = client.recv(4096).decode()
                    assert part, said
                    said += part
                wait_for_problem(source, "network: * the broker sent messages twice, *")
            with subscribed(listener):
                wait_until(lambda: source.connection.connects == 2, what="the next connection")
    assert re.findall(r"ACK\nid:(\d)", said) == ["0", "1", "3", "4"]
    assert (len(recorder.counted), recorder.duplicates) == (3, 2)
