"""A private RabbitMQ, set up as Fedora's public broker is."""

import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any, Self
from uuid import uuid4

import pika
from pika.exceptions import ChannelClosedByBroker

from tests.support.brokers import Server, accepts, free_port
from tests.support.brokers.certificates import Certificates

PROGRAMS = Path("/usr/lib/rabbitmq/bin")  # the wrappers in /usr/sbin switch user
VHOST = "/public_pubsub"
EXCHANGE = "amq.topic"
ADMIN = ("admin", "admin")
USER = ("busmon", "correct-horse")  # may do anything, in "/" (for STOMP) and in VHOST
UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
COMMIT = 500  # messages
CRASH = """
{{ok, Queue}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost}">>, queue, <<"{name}">>)),
exit(amqqueue:get_pid(Queue), kill).
"""
EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}

DEFINITIONS = {
    "vhosts": [{"name": "/"}, {"name": VHOST}],
    "users": [
        {"name": ADMIN[0], "password": ADMIN[1], "tags": "administrator"},
        {"name": USER[0], "password": USER[1], "tags": ""},
        {"name": "fedora", "password_hash": "", "tags": ""},  # by its certificate only
    ],
    "permissions": [
        *({"user": ADMIN[0], "vhost": vhost} | EVERYTHING for vhost in ("/", VHOST)),
        *({"user": USER[0], "vhost": vhost} | EVERYTHING for vhost in ("/", VHOST)),
        {
            "user": "fedora",
            "vhost": VHOST,
            "configure": f"^{UUID}$",
            "write": f"^{UUID}$",
            "read": rf"^({UUID}|amq\.topic)$",
        },
    ],
    "policies": [
        {
            "vhost": VHOST,
            "name": "as-on-the-public-broker",
            "pattern": ".*",
            "apply-to": "queues",
            "definition": {"expires": 3_600_000, "max-length-bytes": 52_428_800},
        }
    ],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A message to publish; `properties` override AMQP's basic properties."""

    topic: str
    body: bytes = b"{}"
    message_id: str | None = field(default_factory=lambda: str(uuid4()))
    headers: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def recorded(cls, record: Mapping[str, Any], **changes: Any) -> Self:
        """Make one from a line of a file that `fedora-messaging record` wrote."""
        fields = {
            "topic": record["topic"],
            "body": json.dumps(record["body"]).encode(),
            "message_id": record["id"],
            "headers": record["headers"],
        }
        return cls(**fields | changes)


class RabbitMQ:
    """RabbitMQ and its own epmd; restarts keep durable queues and persistent messages."""

    def __init__(self, directory: Path, certificates: Certificates) -> None:
        self.certificates = certificates
        self.amqp_port, self.amqps_port = free_port(), free_port()
        self.stomp_port, self.stomps_port = free_port(), free_port()
        self.mqtt_port, self.mqtts_port = free_port(), free_port()
        self.admin_url = f"amqp://{':'.join(ADMIN)}@127.0.0.1:{self.amqp_port}/%2Fpublic_pubsub"
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._env = self._environment(epmd_port=free_port())
        self._write_configuration()
        self._epmd = Server(
            ["epmd", "-port", self._env["ERL_EPMD_PORT"], "-address", "127.0.0.1"],
            directory / "epmd.log",
            ready=lambda _: accepts(int(self._env["ERL_EPMD_PORT"])),
        )
        self.server = Server(
            [PROGRAMS / "rabbitmq-server"],
            directory / "rabbitmq.log",
            self._env,
            directory,
            ready=lambda server: server.logged("Server startup complete"),
        )

    def url_for_fedora(self, port: int | None = None) -> str:
        """Return the URL of the public user, who logs in by certificate."""
        return f"amqps://fedora:@localhost:{port or self.amqps_port}/%2Fpublic_pubsub"

    def start(self) -> Self:
        """Start both, and wait until clients can connect."""
        if not self._epmd.running:
            self._epmd.start()
        self.server.start()
        return self

    def stop(self) -> None:
        """Terminate the broker; `start` brings it back with its data."""
        self.server.terminate(seconds=30)

    def kill(self) -> None:
        """Kill the broker; `start` brings it back with what was on disk."""
        self.server.kill()

    def restart(self, *, kill: bool = False) -> None:
        """Terminate or kill the broker, and start it again."""
        self.kill() if kill else self.stop()
        self.start()

    def close(self) -> None:
        """End everything; its data is no longer needed."""
        self.server.kill()
        self._epmd.kill()

    def publish(self, messages: Iterable[Publication]) -> int:
        """Publish to the topic exchange; on return the broker has stored every message."""
        published = 0
        with self._channel() as channel:
            channel.tx_select()  # with confirms, BlockingConnection waits for each message
            for published, message in enumerate(messages, start=1):
                _publish(channel, message)
                if published % COMMIT == 0:
                    channel.tx_commit()
            channel.tx_commit()
        return published

    def queue_count(self, name: str) -> int | None:
        """Return how many messages of a queue wait unsent, or None if there is no such queue."""
        return self._look(name, "message_count")

    def consumer_count(self, name: str) -> int | None:
        """Return how many consumers a queue has, or None if there is no such queue."""
        return self._look(name, "consumer_count")

    def delete_queue(self, name: str) -> None:
        """Delete a queue, even if it is in use."""
        with self._channel() as channel:
            channel.queue_delete(name)

    def crash_queue(self, name: str) -> None:
        """Crash a queue's process; the broker starts it again with what is on disk."""
        self.ctl("eval", CRASH.format(vhost=VHOST, name=name))

    def declare_queue(self, name: str, routing_keys: Sequence[str] = ("#",)) -> None:
        """Declare a durable queue with these routing keys."""
        with self._channel() as channel:
            channel.queue_declare(name, durable=True)
            for key in routing_keys:
                channel.queue_bind(name, EXCHANGE, key)

    def unbind(self, name: str, routing_key: str) -> None:
        """Remove a binding of a queue to the topic exchange."""
        with self._channel() as channel:
            channel.queue_unbind(name, EXCHANGE, routing_key)

    def drain(self, name: str) -> list[Publication]:
        """Consume all that a queue holds, as another consumer of the bus does."""
        found = []
        with self._channel() as channel:
            while (got := channel.basic_get(name, auto_ack=True))[0]:
                delivered, properties, body = got
                about = {"message_id": properties.message_id, "headers": properties.headers}
                found.append(Publication(topic=delivered.routing_key, body=body, **about))
        return found

    def bindings(self, name: str) -> set[str]:
        """Return the routing keys of a queue's bindings to the topic exchange."""
        listed = json.loads(
            self.ctl("list_bindings", "-p", VHOST, "--formatter=json", "--silent") or "[]"
        )
        return {
            binding["routing_key"]
            for binding in listed
            if binding["destination_name"] == name and binding["source_name"] == EXCHANGE
        }

    def close_connections(self) -> None:
        """Let the broker close the connection of every client."""
        self.ctl("close_all_connections", "--global", "ended by the test")

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl, which takes a second or two, on a busy machine a minute."""
        done = subprocess.run(
            [PROGRAMS / "rabbitmqctl", *arguments],
            env=os.environ | self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, f"rabbitmqctl {arguments[0]}: {done.stdout}{done.stderr}"
        return done.stdout

    def fedora_toml(
        self,
        path: Path,
        *,
        queue: str | None = None,
        bindings: Sequence[str] = ("#",),
        tls: bool = True,
        port: int | None = None,
        certificate: tuple[Path, Path] | None = None,
        ca: Path | None = None,
        callback: str = "fedora_messaging.example:printer",
        url: str | None = None,
    ) -> Path:
        """Write a listener's fedora-messaging configuration for this broker.

        With `tls` it is user `fedora` with a certificate, else USER with its password.
        `port` is for a proxy in between; the other names replace single values.
        """
        plain = f"amqp://{':'.join(USER)}@127.0.0.1:{port or self.amqp_port}/%2Fpublic_pubsub"
        cert, key = certificate or self.certificates.client("fedora")
        path.write_text(
            _filled(
                "listener.toml",
                url=url or (self.url_for_fedora(port) if tls else plain),
                callback=callback,
                ca=ca or self.certificates.ca,
                cert=cert,
                key=key,
                queue=queue or uuid4(),
                routing_keys=json.dumps(list(bindings)),
            )
        )
        return path

    @contextmanager
    def _channel(self) -> Iterator[Any]:
        with pika.BlockingConnection(pika.URLParameters(self.admin_url)) as connection:
            yield connection.channel()

    def _look(self, queue: str, field_name: str) -> int | None:
        with self._channel() as channel:
            try:
                declared = channel.queue_declare(queue, passive=True)
            except ChannelClosedByBroker as error:
                if error.reply_code == 404:
                    return None
                raise
        number: int = getattr(declared.method, field_name)
        return number

    def _environment(self, epmd_port: int) -> dict[str, str]:
        here = self._directory
        distribution_port = free_port()
        return {
            "HOME": str(here),
            "ERL_EPMD_PORT": str(epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"busmon-{distribution_port}@localhost",
            "RABBITMQ_DIST_PORT": str(distribution_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CTL_ERL_ARGS": "+S 1:1 +sbwt none",  # a program that ends at once
            "RABBITMQ_NODE_PORT": str(self.amqp_port),
            "RABBITMQ_MNESIA_BASE": str(here / "mnesia"),
            "RABBITMQ_LOG_BASE": str(here / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(here / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(here / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(here / "rabbitmq-env.conf"),
            # The script becomes the broker instead of waiting for it as its child.
            "RUNNING_UNDER_SYSTEMD": "1",
        }

    def _write_configuration(self) -> None:
        here = self._directory
        certificate, key = self.certificates.server
        (here / "rabbitmq-env.conf").touch()
        (here / "enabled_plugins").write_text(
            "[rabbitmq_auth_mechanism_ssl,rabbitmq_consistent_hash_exchange,rabbitmq_mqtt,rabbitmq_stomp].\n"
        )
        (here / "definitions.json").write_text(json.dumps(DEFINITIONS))
        (here / "rabbitmq.conf").write_text(
            _filled(
                "rabbitmq.conf",
                amqp_port=self.amqp_port,
                amqps_port=self.amqps_port,
                stomp_port=self.stomp_port,
                stomps_port=self.stomps_port,
                mqtt_port=self.mqtt_port,
                mqtts_port=self.mqtts_port,
                ca=self.certificates.ca,
                certificate=certificate,
                key=key,
                definitions=here / "definitions.json",
            )
        )


def _publish(channel: Any, message: Publication) -> None:
    properties: dict[str, Any] = {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "delivery_mode": 2,
        "message_id": message.message_id,
        "headers": dict(message.headers),
    }
    channel.basic_publish(
        EXCHANGE,
        message.topic,
        message.body,
        pika.BasicProperties(**properties | dict(message.properties)),
    )


def _filled(template: str, **names: object) -> str:
    return Template(Path(__file__).with_name(template).read_text()).substitute(names)
