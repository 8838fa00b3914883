"""The STOMP source at work, at either broker or at one that a test plays."""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from busmon.sources.stomp.settings import StompBus
from busmon.sources.stomp.source import StompSource
from tests.support.brokers.activemq import Publisher
from tests.support.brokers.certificates import Certificates
from tests.support.sources import AsTheyAre, Record
from tests.support.sources import running as running_source

HEARTBEAT = 60  # seconds. With less, a busy machine loses connections.
BEAT = 1  # in tests of heart-beats


@dataclass
class Broker:
    """What a test needs to know of either broker."""

    port: int
    settings: dict[str, Any]
    publisher: Callable[[], Publisher]
    stop: Callable[[], Any]
    kill: Callable[[], Any]
    start: Callable[[], Any]


both_brokers = pytest.mark.parametrize("broker", ["activemq", "rabbitmq"], indirect=True)


def bus(port: int, destination: str = "/topic/test.none", **settings: Any) -> StompBus:
    given = {"brokers": [f"127.0.0.1:{port}"], "destinations": [destination]}
    usual = {"type": "stomp", "rules": "all", "heartbeat": HEARTBEAT}
    return StompBus.model_validate(usual | given | settings)


def numbered(numbers: Sequence[int]) -> list[dict[str, int]]:
    return [{"n": number} for number in numbers]


def running(
    settings: StompBus, handler: Record | AsTheyAre, *, connected: bool = True
) -> AbstractContextManager[StompSource]:
    return running_source(StompSource("bus", settings), handler, connected=connected)


def with_tls(certificates: Certificates, **changes: Path) -> dict[str, Any]:
    certificate, key = certificates.client("busmon")
    names = {"ca": certificates.ca, "certificate": certificate, "key": key}
    return {"tls": True} | names | changes


@contextmanager
def subscribed(
    listener: socket.socket, heartbeat: int = 1000
) -> Iterator[tuple[socket.socket, bytes]]:
    """Stand in for a broker: let a client in, and yield its connection and what it asked for."""
    client, _ = listener.accept()
    with client:
        client.recv(4096)
        beats = f"heart-beat:{heartbeat},{heartbeat}"  # ms; 0: none
        client.sendall(f"CONNECTED\nversion:1.2\n{beats}\n\n\0".encode())
        asked = client.recv(4096)
        client.sendall(b"RECEIPT\nreceipt-id:/queue/x\n\n\0")
        yield client, asked
