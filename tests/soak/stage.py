"""The parts of a soak: real brokers behind proxies, publishers, and one busmon for all buses."""

import random
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.soak.publisher import Publisher
from tests.support.brokers.activemq import ActiveMQ
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.brokers.proxy import Proxy
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.buses import proxied, started
from tests.support.busmon_process import Busmon
from tests.support.streams import assert_exact, by_bus

BEAT = "5s"  # so that a dead connection is noticed within a round


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """All parts that can fail; proxies and publishers by the name of their bus."""

    directory: Path
    certificates: Certificates
    rabbitmq: RabbitMQ
    mosquitto: Mosquitto
    activemq: ActiveMQ
    queue: str  # of the AMQP bus
    proxies: Mapping[str, Proxy]
    publishers: Mapping[str, Publisher]
    busmon: Busmon

    @property
    def ledger(self) -> Path:
        """The SQLite file."""
        return self.directory / "ledger.sqlite"

    @contextmanager
    def quiet(self, *buses: str) -> Iterator[None]:
        """Let nothing be published to these buses, or to all."""
        with ExitStack() as held:
            for bus in buses or self.publishers:
                held.enter_context(self.publishers[bus].still)
                if failure := self.publishers[bus].failure:
                    raise failure
            yield

    @contextmanager
    def drained(self, *buses: str) -> Iterator[None]:
        """Keep these buses, or all, quiet, after each message was counted exactly once."""
        with self.quiet(*buses):
            self.busmon.wait_until_ready()
            assert_exact(
                self.busmon, [self.publishers[bus].stream for bus in buses or self.publishers]
            )
            yield

    def check(self) -> dict[str, object]:
        """Check that each message is counted exactly once; return figures of the process."""
        with self.drained():
            assert b"Traceback" not in self.busmon.log.read_bytes(), self.busmon.log
            return {
                "messages": by_bus(self.busmon.counts()),
                "duplicates": by_bus(self.busmon.duplicates()),
                "rss_mib": round(self.busmon.memory() / 2**20, 1),
                "fds": len(list(Path(f"/proc/{self.busmon.pid}/fd").iterdir())),
                "ledger_mib": round(self.ledger.stat().st_size / 2**20, 1),
            }


@contextmanager
def staged(directory: Path, rng: random.Random) -> Iterator[Stage]:
    """Start everything, and end it."""
    certificates = Certificates(directory / "certificates")
    with ExitStack() as stack:
        rabbitmq = RabbitMQ(directory / "rabbitmq", certificates)
        stack.callback(rabbitmq.close)
        rabbitmq.start()
        mosquitto = stack.enter_context(Mosquitto(directory / "mosquitto", certificates))
        activemq = stack.enter_context(ActiveMQ(directory / "activemq", certificates))
        brokers = rabbitmq, mosquitto, activemq
        buses, proxies = stack.enter_context(proxied(*brokers, certificates, directory, BEAT))
        busmon = stack.enter_context(started(directory, buses))
        publishers = {}
        for stream in (bus.stream for bus in buses):
            publishers[stream.bus] = Publisher(stream, random.Random(rng.random()))
            publishers[stream.bus].start()
            stack.callback(publishers[stream.bus].stop)
        yield Stage(
            directory=directory,
            certificates=certificates,
            rabbitmq=rabbitmq,
            mosquitto=mosquitto,
            activemq=activemq,
            queue=buses[0].settings["queue"],
            proxies=proxies,
            publishers=publishers,
            busmon=busmon,
        )
