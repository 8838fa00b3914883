"""A real `fedora-messaging consume`, plain or with the tap around its callback."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pika

from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.brokers.redis import Redis
from tests.support.listener_image import ListenerImage
from tests.support.listener_process import ListenerProcess
from tests.support.tap_reports import TOKEN


class TappedListener(ListenerProcess):
    """`fedora-messaging consume` with a queue that outlives it, and one for what it drops."""

    def __init__(
        self,
        directory: Path,
        rabbitmq: RabbitMQ,
        redis: Redis | None,
        callback: str = "tests.support.consumerino:Consumerino",
        image: ListenerImage | None = None,
        key: str = "",
        topics: Sequence[str] = (),
    ) -> None:
        """Write its configuration. With the key of another one, both share a queue.

        It consumes these topics, or else its `key`. Without Redis it has no Celery.
        """
        directory.mkdir(exist_ok=True)
        self.callback = callback
        self.rabbitmq = rabbitmq
        self.key = key or uuid4().hex
        self.queue, self.dropped = f"listener-{self.key}", f"dropped-{self.key}"
        self.bindings = topics or [self.key]
        self.calls = directory / "calls"
        self.toml = rabbitmq.fedora_toml(
            directory / "listener.toml",
            queue=self.queue,
            bindings=self.bindings,
            tls=False,
            callback=callback,
        )
        text = self.toml.read_text().replace("auto_delete = true", "auto_delete = false")
        before, _, after = text.replace("exclusive = true", "exclusive = false").partition("[tls]")
        _, _, after = after.partition(
            "[client_properties]"
        )  # without the certificates, which are not needed
        text = f"{before}[client_properties]{after}".replace(
            "arguments = {}\n\n[[bindings]]",
            'arguments = { "x-dead-letter-exchange" = "",'
            f' "x-dead-letter-routing-key" = "{self.dropped}" }}\n\n[[bindings]]',
        )
        settings = {"calls": str(self.calls), "celery": redis.url if redis else ""}
        self.toml.write_text(f"{text}\n{section('listener', settings)}")
        rabbitmq.declare_queue(self.dropped, [])
        super().__init__(self.toml, image=image)

    def tap(self, url: str, **settings: Any) -> None:
        """Put the tap around the callback."""
        self.configure_tap(url, **settings)
        self.argv = [*self.argv[:2], "--callback=busmon_tap:Tap"]

    def configure_tap(self, url: str, **settings: Any) -> None:
        """Add the tap's settings to the listener's file, and nothing else."""
        usual = {"callback": self.callback, "bus": "fedora", "url": url, "token": TOKEN}
        with self.toml.open("a") as file:
            file.write(section("busmon", usual | settings))

    def publish(self, *what: str) -> list[str]:
        """Publish a message for each thing to be done, and return their ids."""
        messages = [
            Publication(topic=self.key, body=json.dumps({"do": do}).encode()) for do in what
        ]
        self.rabbitmq.publish(messages)
        return [str(message.message_id) for message in messages]

    def called(self) -> list[str]:
        """Return the id of the message of each call."""
        return self.calls.read_text().split() if self.calls.exists() else []

    def drain(self, queue: str) -> list[str]:
        """Take all messages out of a queue, and return their ids."""
        with pika.BlockingConnection(pika.URLParameters(self.rabbitmq.admin_url)) as connection:
            channel = connection.channel()
            ids = []
            while (message := channel.basic_get(queue, auto_ack=True))[0]:
                ids.append(message[1].message_id)
        return ids

    def close(self) -> None:
        if self.running:
            self.kill()
        for queue in (self.queue, self.dropped):
            self.rabbitmq.delete_queue(queue)


def section(name: str, settings: dict[str, Any]) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    return "\n".join([f"[consumer_config.{name}]", *lines, ""])
