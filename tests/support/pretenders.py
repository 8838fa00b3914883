"""Servers that stand in for brokers: they accept, keep the login, and hang or close."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pika.frame
import pika.spec

FEDORA_TOML = """
amqp_url = "amqp://listener:{password}@127.0.0.1:{port}"
[[bindings]]
exchange = "amq.topic"
routing_keys = ["#"]
"""
AMQP_START = pika.frame.Method(
    0, pika.spec.Connection.Start(server_properties={}, mechanisms="PLAIN", locales="en_US")
).marshal()


def secret_of(subscribe: bytes) -> str:
    """Return what begins a subscription's id in a SUBSCRIBE frame of STOMP; a path ends it."""
    _, _, identity = subscribe.partition(b"\nid:")
    return identity.partition(b"/")[0].decode()


class Pretender:
    """A listener that answers the first bytes with `greeting`, and keeps all that it hears."""

    def __init__(self, greeting: bytes = b"", *, hang: bool = False) -> None:
        self.heard = b""
        self._greeting, self._hang = greeting, hang
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self.heard += connection.recv(65536)
            connection.sendall(self._greeting)
            while self._hang or self._greeting:
                part = connection.recv(65536)
                self.heard += part
                if not part or not self._hang:
                    return

    def close(self) -> None:
        self._listener.close()


@contextmanager
def pretenders(*, hang: bool) -> Iterator[dict[str, Pretender]]:
    named = {
        "amqp": Pretender(AMQP_START, hang=hang),
        "mqtt": Pretender(hang=hang),
        "stomp": Pretender(hang=hang),
    }
    try:
        yield named
    finally:
        for pretender in named.values():
            pretender.close()


def pretended_buses(directory: Path, suffix: str, **ports: int) -> dict[str, dict[str, Any]]:
    """Return the settings of a bus of each protocol, without their secrets."""
    toml = directory / f"fedora-{suffix}.toml"
    toml.write_text(FEDORA_TOML.format(password=f"amqp-{suffix}-c4nary", port=ports["amqp"]))
    amqp = {"type": "amqp", "rules": "packit", "config": toml.name}
    mqtt = {
        "type": "mqtt",
        "rules": "centos",
        "url": f"mqtt://127.0.0.1:{ports['mqtt']}",
        "topics": ["#"],
        "client_id": "busmon",
        "username": "busmon",
    }
    stomp = {
        "type": "stomp",
        "rules": "all",
        "brokers": [f"127.0.0.1:{ports['stomp']}"],
        "destinations": ["/topic/a"],
        "login": "busmon",
    }
    return {f"amqp{suffix}": amqp, f"mqtt{suffix}": mqtt, f"stomp{suffix}": stomp}
