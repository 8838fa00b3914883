"""A real `fedora-messaging consume` with its monitor, and its callback."""

from pathlib import Path
from typing import Any
from uuid import uuid4

from fedora_messaging.exceptions import Drop, Nack

from tests.support.brokers import accepts, free_port
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.listener_process import ListenerProcess, is_registered

REFUSED: set[str] = set()  # by the listener's process, once each


def callback(message: Any) -> None:
    """Do what the message says."""
    if message.body.get("do") == "drop":
        raise Drop
    if message.body.get("do") == "reject" and message.id not in REFUSED:
        REFUSED.add(message.id)
        raise Nack


class MonitoredListener(ListenerProcess):
    """`fedora-messaging consume` with a monitor."""

    def __init__(self, directory: Path, rabbitmq: RabbitMQ) -> None:
        self.key, self.queue, self.monitor = uuid4().hex, str(uuid4()), free_port()
        self.url = f"http://127.0.0.1:{self.monitor}/ready"
        self._rabbitmq = rabbitmq
        toml = rabbitmq.fedora_toml(
            directory / "listener.toml",
            queue=self.queue,
            bindings=[self.key],
            callback="tests.support.monitored_listener:callback",
        )
        with toml.open("a") as file:
            file.write(f'\n[monitoring]\naddress = "127.0.0.1"\nport = {self.monitor}\n')
        super().__init__(toml, lambda server: is_registered(server) and accepts(self.monitor))

    def publish(self, *what: str) -> None:
        bodies = (b'{"do": "%s"}' % do.encode() for do in what)
        self._rabbitmq.publish(Publication(topic=self.key, body=body) for body in bodies)
