"""MQTT: all of busmon beside consumers that only count, on a private Mosquitto."""

import sys
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from uuid import uuid4

from tests.bench import Options
from tests.bench.brokers import KEEPALIVE
from tests.bench.consumers import drain_busmon, drain_other
from tests.bench.measure import Run, Table, compared, interleaved
from tests.bench.stream import from_centos
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.mosquitto import INFLIGHT, Mosquitto

MESSAGES = 50_000
CHUNK = 5_000  # messages in the memory of the publisher

NOTES = (
    "Payloads of 0.2 to 25 kB, one in 500 of 100 kB, QoS 1, a persistent session each, no TLS;"
    " busmon and paho-mqtt speak MQTT 5;"
    f" the broker sends {INFLIGHT:,} before it waits for acknowledgements.",
    "busmon judges, records on disk (`synchronous=FULL`) and acknowledges; paho-mqtt counts and"
    " acknowledges each by hand; `mosquitto_sub` prints an empty line.",
    "Aim: busmon's speed at least 0.8 of bare paho-mqtt.",
)


def run(options: Options) -> list[Table]:
    """Compare all consumers, on a broker of their own."""
    certificates = Certificates(options.directory / "certificates")
    with Mosquitto(options.directory / "mosquitto", certificates) as broker:
        return [compare(broker, options)]


def compare(broker: Mosquitto, options: Options) -> Table:
    """Let each consumer drain the same session."""
    bench = _Bench(broker, options.directory, options.size(MESSAGES))
    contestants: dict[str, Callable[[], Run]] = {
        "busmon": bench.busmon,
        "bare paho-mqtt": bench.paho,
        "`mosquitto_sub -q 1`": bench.mosquitto_sub,
    }
    runs = interleaved(contestants, options.rounds, options.say)
    return compared("MQTT, Mosquitto", runs, "busmon", NOTES)


class _Bench:
    """One broker, and how each consumer is started beside it."""

    def __init__(self, broker: Mosquitto, directory: Path, messages: int) -> None:
        self._broker = broker
        self._directory = directory
        self._messages = messages

    def busmon(self) -> Run:
        name, directory = self._new()
        settings = {
            "type": "mqtt",
            "rules": "centos",
            "url": self._broker.url,
            "client_id": name,
            "topics": [f"{name}/#"],
            "keepalive": f"{KEEPALIVE}s",
        }
        return drain_busmon(directory, settings, partial(self._publish, name), self._messages)

    def paho(self) -> Run:
        name, directory = self._new()
        port = str(self._broker.port)
        return drain_other(
            directory,
            [sys.executable, "-m", "tests.bench.bare_paho", port, name, f"{name}/#"],
            lambda server: server.logged("subscribed"),
            partial(self._publish, name),
            self._messages,
        )

    def mosquitto_sub(self) -> Run:
        name, directory = self._new()
        # It does not say when it is subscribed, but prints what was retained.
        self._broker.publish([(f"{name}/retained", b"1")], retain=True)
        options = f"-p {self._broker.port} -i {name} -c -q 1 -k {KEEPALIVE} -t {name}/#"
        return drain_other(
            directory,
            ["mosquitto_sub", *options.split(), "-F", ""],  # an empty line a message
            lambda server: bool(server.output()),
            partial(self._publish, name),
            self._messages,
            drained=lambda server: len(server.output()) > self._messages,
        )

    def _new(self) -> tuple[str, Path]:
        """Return the name of a new session, with which its topics begin, and a directory."""
        name = str(uuid4())
        directory = self._directory / name
        directory.mkdir()
        return name, directory

    def _publish(self, name: str) -> None:
        messages = (
            (topic.replace("git.centos.org", name), body)
            for topic, body in from_centos(self._messages)
        )
        while chunk := list(islice(messages, CHUNK)):
            self._broker.publish(chunk)
