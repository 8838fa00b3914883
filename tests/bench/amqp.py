"""AMQP: all of busmon beside consumers that do less, on a private RabbitMQ."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

from tests.bench import Options
from tests.bench.brokers import KEEPALIVE, amqp_bus, unlimited_rabbitmq
from tests.bench.consumers import drain_busmon, drain_other
from tests.bench.measure import Run, Table, compared, interleaved
from tests.bench.stream import from_fedora
from tests.support.brokers import Server
from tests.support.brokers.rabbitmq import USER, VHOST, RabbitMQ

MESSAGES = 50_000
MESSAGES_FOR_CONSUME = 10_000  # it is slow, and no faster with more
SOURCE = Path(__file__).with_name("consume.c")

NOTES = (
    "Bodies of 0.2 to 25 kB, one in 500 of 100 kB, no TLS unless said; each consumer had a full"
    " queue of its own, and was subscribed before it was filled.",
    "busmon judges, records on disk (`synchronous=FULL`) and acknowledges; the others only count.",
    "Aims: busmon's speed at least 20 times that of `fedora-messaging consume`, half that of C;"
    " at most 45 ms CPU for 1,000 messages.",
)


def run(options: Options) -> list[Table]:
    """Compare all consumers, on a broker of their own."""
    with unlimited_rabbitmq(options.directory) as broker:
        return [compare(broker, options)]


def compare(broker: RabbitMQ, options: Options) -> Table:
    """Let each consumer drain the same queue."""
    full, few = options.size(MESSAGES), options.size(MESSAGES_FOR_CONSUME)
    bench = _Bench(broker, options.directory)
    contestants: dict[str, Callable[[], Run]] = {
        "busmon": partial(bench.busmon, full, tls=False),
        "busmon, TLS": partial(bench.busmon, full, tls=True),
        "`fedora-messaging consume`": partial(bench.consume, few, prefetch=10),
        "the same, prefetch 1,000": partial(bench.consume, few, prefetch=1000),
        "bare pika": partial(bench.pika, full),
    }
    notes = list(NOTES)
    if program := compiled(options.directory):
        contestants["C, librabbitmq"] = partial(bench.c, full, program)
    else:
        notes.append("C was left out: it wants cc, pkg-config and librabbitmq's headers.")
        options.say(notes[-1])
    runs = interleaved(contestants, options.rounds, options.say)
    return compared("AMQP, RabbitMQ", runs, "busmon", notes)


def compiled(directory: Path) -> Path | None:
    """Compile the C client; None where that is not possible."""
    program = directory / "consume"
    script = 'cc -O2 "$0" -o "$1" $(pkg-config --cflags --libs librabbitmq)'
    done = subprocess.run(["sh", "-c", script, SOURCE, program], capture_output=True, check=False)
    return None if done.returncode else program


class _Bench:
    """One broker, and how each consumer is started beside it."""

    def __init__(self, broker: RabbitMQ, directory: Path) -> None:
        self._broker = broker
        self._directory = directory
        port = broker.amqp_port
        self._login = ("127.0.0.1", str(port), VHOST, *USER)
        place = f"127.0.0.1:{port}/{quote(VHOST, safe='')}"
        self._url = f"amqp://{':'.join(USER)}@{place}?heartbeat={KEEPALIVE}"

    def busmon(self, messages: int, *, tls: bool) -> Run:
        with self._queue() as (queue, directory):
            settings = amqp_bus(self._broker, directory, queue, tls=tls)
            return drain_busmon(directory, settings, partial(self._publish, messages), messages)

    def consume(self, messages: int, *, prefetch: int) -> Run:
        with self._queue() as (queue, directory):
            toml = self._broker.fedora_toml(
                directory / "fedora.toml",
                queue=queue,
                url=self._url,
                callback="tests.bench.empty_callback:callback",
            )
            # The benchmark asks for the state of its queue, too, so it cannot be exclusive.
            _replace(toml, "exclusive = true", "exclusive = false")
            _replace(toml, "prefetch_count = 25", f"prefetch_count = {prefetch}")
            program = Path(sys.executable).with_name("fedora-messaging")
            return self._drain([program, "--conf", toml, "consume"], queue, directory, messages)

    def pika(self, messages: int) -> Run:
        with self._queue() as (queue, directory):
            self._broker.declare_queue(queue)
            command = [sys.executable, "-m", "tests.bench.bare_pika", self._url, queue]
            return self._drain(command, queue, directory, messages)

    def c(self, messages: int, program: Path) -> Run:
        with self._queue() as (queue, directory):
            self._broker.declare_queue(queue)
            return self._drain([program, *self._login, queue], queue, directory, messages)

    @contextmanager
    def _queue(self) -> Iterator[tuple[str, Path]]:
        """Yield the name of a new queue and a directory; delete the queue in the end."""
        queue = str(uuid4())
        directory = self._directory / queue
        directory.mkdir()
        try:
            yield queue, directory
        finally:
            self._broker.delete_queue(queue)

    def _drain(
        self, command: Sequence[str | Path], queue: str, directory: Path, messages: int
    ) -> Run:
        def subscribed(_: Server) -> bool:
            return bool(self._broker.consumer_count(queue))

        fill = partial(self._publish, messages)
        return drain_other(directory, command, subscribed, fill, messages)

    def _publish(self, messages: int) -> None:
        self._broker.publish(from_fedora(messages))


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text, old
    file.write_text(text.replace(old, new))
