"""An MQTT source at work, and a broker that follows a script."""

import contextlib
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from busmon.sources.mqtt.settings import MqttBus
from busmon.sources.mqtt.source import MqttSource
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.sources import AsTheyAre, Record
from tests.support.sources import running as running_source

ACCEPTED = b"\x20\x03\x00\x00\x00"  # CONNACK of MQTT 5
SUBSCRIBED = b"\x90\x04\x00\x01\x00\x01"  # its SUBACK


def settings_of(url: str, root: str, **changes: Any) -> MqttBus:
    values = {"url": url, "topics": (f"{root}/#",), "client_id": root, "version": "5"}
    return MqttBus.model_validate({"type": "mqtt", "rules": "all"} | values | changes)


def running(
    settings: MqttBus, handler: Record | AsTheyAre, *, connected: bool = True
) -> AbstractContextManager[MqttSource]:
    return running_source(MqttSource("centos", settings), handler, connected=connected)


@contextmanager
def scripted(says: Sequence[bytes], *, then_close: bool = True) -> Iterator[str]:
    """Stand in for a broker: answer each packet of a client with the next of these bytes."""

    def serve() -> None:
        with contextlib.suppress(OSError):  # the listener is closed at the end
            while True:
                client, _ = listener.accept()
                with client:
                    client.recv(1000)
                    for said in says:
                        client.sendall(said)
                        client.recv(1000)
                    while not then_close and client.recv(1000):
                        pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"mqtt://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


VERSIONS = ("3.1.1", "5")


def settings(broker: Mosquitto, root: str, **changes: Any) -> MqttBus:
    return settings_of(**{"url": broker.url, "root": root, **changes})


def numbered(root: str, numbers: Iterable[int]) -> Iterator[tuple[str, bytes]]:
    return ((f"{root}/pull-request.{n % 7}", b'{"n": %d}' % n) for n in numbers)


def login(certificates: Certificates) -> dict[str, Path]:
    certificate, key = certificates.client("busmon")
    return {"ca": certificates.ca, "certificate": certificate, "key": key}
