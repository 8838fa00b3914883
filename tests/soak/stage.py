"""The parts of a soak: brokers behind proxies, publishers, all that is behind a bus, and busmon."""

import random
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.soak.behind import BUS, Behind, behind
from tests.soak.busmons import PATIENCE, Busmons, again, with_database, with_file
from tests.soak.operator import CONFIGURATION, Operator
from tests.soak.publisher import USUAL, Pace, Publisher
from tests.support.brokers import wait_until
from tests.support.brokers.activemq import ActiveMQ
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.brokers.proxy import Proxy
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.buses import proxied
from tests.support.busmon_process import Busmon
from tests.support.streams import by_bus

BEAT = "5s"  # so that a dead connection is noticed within a round
OF_FEDORA = ["org.#", "the.end"]  # routing keys, without those of the other bus of this broker
SLOW = Pace((0.5, 2), 20, 200)  # a listener is no faster
MIB = 2**20
MEMORY = 128 * MIB  # of each busmon, at most: the limit in the manifests, without files
DESCRIPTORS = 150  # of each busmon, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """All parts that can fail; proxies and publishers by the name of their bus."""

    directory: Path
    certificates: Certificates
    rabbitmq: RabbitMQ
    mosquitto: Mosquitto
    activemq: ActiveMQ
    queues: Mapping[str, str]  # of the AMQP buses
    proxies: Mapping[str, Proxy]
    redis: Proxy
    publishers: Mapping[str, Publisher]
    behind: Behind
    operator: Operator
    busmons: Busmons

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
            self.busmons.wait_until_ready()
            self.busmons.assert_exact(
                [self.publishers[bus].stream for bus in buses or self.publishers]
            )
            yield

    def check(self) -> dict[str, object]:
        """Check that each message is counted exactly once; return figures of the processes."""
        with self.drained():
            for busmon in self.busmons.all:
                assert b"Traceback" not in busmon.log.read_bytes(), busmon.log
            again(lambda: self.behind.check(self.busmons.leader()))
            self.operator.look()
            memory = [busmon.memory() for busmon in self.busmons.all]
            descriptors = [descriptors_of(busmon) for busmon in self.busmons.all]
            own_memory = [busmon.own_memory() for busmon in self.busmons.all]
            assert max(own_memory) < MEMORY, own_memory
            assert max(descriptors) < DESCRIPTORS, descriptors
            return {
                "messages": by_bus(self.busmons.counts()),
                "duplicates": again(lambda: by_bus(self.busmons.leader().duplicates())),
                "pages": self.operator.read,
                "rss_mib": round(max(memory) / MIB, 1),
                "fds": max(descriptors),
            }

    def wait_until_said(self, names: Collection[str]) -> None:
        """Wait until /ready names these buses, or the ledger."""
        said: set[str] = set()

        def complete() -> bool:
            said.update(self.busmons.said())
            return said >= {*names}

        if names:
            wait_until(complete, PATIENCE, f"/ready to name {', '.join(names)}")

    def settle(self) -> dict[str, int]:
        """Check what busmon knows in the end, and return it, by what it is."""
        with self.drained():
            self.operator.stop()
            self.operator.reopen()
            return self.behind.settle(self.busmons.leader)


def descriptors_of(busmon: Busmon) -> int:
    return len(list(Path(f"/proc/{busmon.pid}/fd").iterdir()))


@contextmanager
def staged(directory: Path, rng: random.Random, *, in_database: bool) -> Iterator[Stage]:
    """Start everything, and end it."""
    certificates = Certificates(directory / "certificates")
    with ExitStack() as stack:
        rabbitmq = RabbitMQ(directory / "rabbitmq", certificates)
        stack.callback(rabbitmq.close)
        rabbitmq.start()
        mosquitto = stack.enter_context(Mosquitto(directory / "mosquitto", certificates))
        activemq = stack.enter_context(ActiveMQ(directory / "activemq", certificates))
        brokers = rabbitmq, mosquitto, activemq
        buses, proxies = stack.enter_context(
            proxied(*brokers, certificates, directory, BEAT, routing_keys=OF_FEDORA)
        )
        all_behind = stack.enter_context(behind(directory, rabbitmq))
        proxies[BUS] = stack.enter_context(Proxy(rabbitmq.amqp_port))
        buses.append(all_behind.bus(directory / "listened.toml", proxies[BUS].port, heartbeat=BEAT))
        redis = stack.enter_context(Proxy(all_behind.redis.port))
        settings = {bus.stream.bus: bus.settings for bus in buses}
        more = CONFIGURATION + all_behind.configuration(redis.port)
        busmons = stack.enter_context(
            with_database(directory, certificates, settings, more)
            if in_database
            else with_file(directory, settings, more)
        )
        busmons.wait_until_ready()
        stack.enter_context(all_behind.listening(busmons.all[0].url))
        publishers = {}
        for name, stream in ((bus.stream.bus, bus.stream) for bus in buses):
            pace = SLOW if name == BUS else USUAL
            publishers[name] = Publisher(stream, random.Random(rng.random()), pace)
            publishers[name].start()
            stack.callback(publishers[name].stop)
        operator = Operator(busmons.all, random.Random(rng.random()))
        operator.start()
        stack.callback(operator.stop)
        yield Stage(
            directory=directory,
            certificates=certificates,
            rabbitmq=rabbitmq,
            mosquitto=mosquitto,
            activemq=activemq,
            queues={name: of["queue"] for name, of in settings.items() if "queue" in of},
            proxies=proxies,
            redis=redis,
            publishers=publishers,
            behind=all_behind,
            operator=operator,
            busmons=busmons,
        )
