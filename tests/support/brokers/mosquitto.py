"""A private Mosquitto: persistent sessions, a plain listener and one for certificates."""

import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.brokers import Server, free_port
from tests.support.brokers.certificates import Certificates

USER = ("busmon", "correct-horse")  # a login needs no name; one with a name needs the password
INFLIGHT = 1000  # messages unacknowledged at a time; Mosquitto's default is 20


class Mosquitto:
    """Sessions and their messages survive a restart, but not a kill."""

    def __init__(
        self,
        directory: Path,
        certificates: Certificates,
        *,
        inflight: int = INFLIGHT,
        options: Iterable[str] = (),
    ) -> None:
        self.port, self.tls_port = free_port(), free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self.tls_url = f"mqtts://localhost:{self.tls_port}"
        directory.mkdir(parents=True, exist_ok=True)
        passwords = directory / "passwords"
        subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, *USER], check=True)
        configuration = directory / "mosquitto.conf"
        certificate, key = certificates.server
        lines = [
            *(["user root"] if os.geteuid() == 0 else []),
            "persistence true",
            f"persistence_location {directory}/",
            "allow_anonymous true",
            f"password_file {passwords}",
            f"max_inflight_messages {inflight}",
            "max_queued_messages 0",
            *options,
            f"listener {self.port} 127.0.0.1",
            f"listener {self.tls_port} 127.0.0.1",
            f"cafile {certificates.ca}",
            f"certfile {certificate}",
            f"keyfile {key}",
            "require_certificate true",
        ]
        configuration.write_text("\n".join(lines) + "\n")
        self.server = Server(
            ["mosquitto", "-c", configuration],
            directory / "mosquitto.log",
            ready=lambda server: server.logged(" running"),
        )

    def start(self) -> Self:
        """Start it, and wait until clients can connect."""
        self.server.start()
        return self

    def stop(self) -> None:
        """Terminate it; `start` brings it back with its sessions."""
        self.server.terminate()

    def restart(self) -> None:
        """Terminate it, and start it again."""
        self.server.restart()

    def close(self) -> None:
        """End it; its data is no longer needed."""
        self.server.kill()

    def publish(
        self, messages: Iterable[tuple[str, bytes]], *, qos: int = 1, retain: bool = False
    ) -> None:
        """Publish each topic and payload; with QoS 1 the broker has them all on return."""
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.max_inflight_messages_set(INFLIGHT)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        try:
            sent = [client.publish(topic, body, qos, retain) for topic, body in messages]
            for info in sent:
                info.wait_for_publish(timeout=30)
                assert info.is_published()
        finally:
            client.disconnect()
            client.loop_stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest.fixture(scope="session")
def mosquitto(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("mosquitto"), certificates) as broker:
        yield broker
