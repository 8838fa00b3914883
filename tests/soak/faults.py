"""The faults of a soak: each begins, lasts for a while, and is repaired."""

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import NamedTuple
from urllib.request import urlopen

from tests.ledger.sql import foreign_reader, foreign_writer
from tests.soak.stage import Stage
from tests.support.brokers import wait_until
from tests.support.brokers.proxy import Proxy
from tests.support.brokers.rabbitmq import VHOST
from tests.support.streams import Sample, standing_still

SCRAPERS = 20
LARGE, HUGE = 2**20, 4 * 2**20  # bytes; busmon reads the first, but not the second
DEEP = 100_000  # brackets

Do = Callable[[Stage, random.Random], AbstractContextManager[None]]


class Fault(NamedTuple):
    """Two faults can go together if their places differ; one that is `alone` cannot."""

    name: str
    place: str
    do: Do
    seconds: tuple[float, float]  # that it lasts, at least and at most
    alone: bool = False


# busmon itself


@contextmanager
def killed(stage: Stage, _: random.Random) -> Iterator[None]:
    stage.busmon.kill()
    yield
    stage.busmon.start()


@contextmanager
def restarted(stage: Stage, _: random.Random) -> Iterator[None]:
    assert stage.busmon.terminate(seconds=5) == 0
    yield
    stage.busmon.start()


@contextmanager
def suspended(stage: Stage, _: random.Random) -> Iterator[None]:
    with standing_still(stage.busmon):
        yield


@contextmanager
def disk_full(stage: Stage, _: random.Random) -> Iterator[None]:
    """No file of the process can grow, not even the log."""
    stage.busmon.limit_files(4096)
    yield
    stage.busmon.limit_files("unlimited")


@contextmanager
def scrape_storm(stage: Stage, _: random.Random) -> Iterator[None]:
    over = threading.Event()

    def scrape() -> None:
        while not over.is_set():
            for path in ("/metrics", "/", "/ready"):
                with suppress(OSError), urlopen(stage.busmon.url + path, timeout=5) as answer:
                    answer.read()

    threads = [threading.Thread(target=scrape, daemon=True) for _ in range(SCRAPERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


# Brokers


def broker_down(
    *buses: str, end: Callable[[Stage], object], start: Callable[[Stage], object]
) -> Do:
    """Return a fault in which a broker is down; nobody publishes to its buses meanwhile."""

    @contextmanager
    def do(stage: Stage, _: random.Random) -> Iterator[None]:
        with stage.quiet(*buses):
            end(stage)
            yield
            start(stage)

    return do


rabbitmq_down = partial(broker_down, "fedora", start=lambda stage: stage.rabbitmq.start())
mosquitto_down = partial(broker_down, "centos", start=lambda stage: stage.mosquitto.start())
activemq_down = partial(
    broker_down, "durable", "virtual", start=lambda stage: stage.activemq.start()
)


@contextmanager
def mosquitto_killed(stage: Stage, _: random.Random) -> Iterator[None]:
    """It loses what it had not saved, so it saves when everything is counted."""
    saved = stage.directory / "mosquitto" / "mosquitto.db"
    with stage.drained("centos"):
        saved.unlink(missing_ok=True)
        os.kill(stage.mosquitto.server.pid, signal.SIGUSR1)
        wait_until(saved.exists, what="Mosquitto to save its sessions")
        stage.mosquitto.close()
        yield
        stage.mosquitto.start()


@contextmanager
def queue_deleted(stage: Stage, _: random.Random) -> Iterator[None]:
    """The messages of a deleted queue are lost, so it is empty, and stays so until it is back."""
    with stage.drained("fedora"):
        stage.rabbitmq.delete_queue(stage.queue)
        wait_until(lambda: stage.rabbitmq.consumer_count(stage.queue), 60, "the queue to be back")
    yield


@contextmanager
def queue_crashed(stage: Stage, _: random.Random) -> Iterator[None]:
    """The broker starts it again, with what is on disk and its consumer."""
    with stage.quiet("fedora"):
        stage.rabbitmq.crash_queue(stage.queue)
    yield


@contextmanager
def connections_closed(stage: Stage, _: random.Random) -> Iterator[None]:
    with stage.quiet("fedora"):
        stage.rabbitmq.close_connections()
    yield


@contextmanager
def permission_withdrawn(stage: Stage, _: random.Random) -> Iterator[None]:
    user = ("set_permissions", "-p", VHOST, "fedora")
    stage.rabbitmq.ctl(*user, "^$", "^$", "^$")
    stage.proxies["fedora"].cut()
    yield
    stage.rabbitmq.ctl(*user, ".*", ".*", ".*")


@contextmanager
def certificate_expired(stage: Stage, _: random.Random) -> Iterator[None]:
    """They expire before a reconnection, and are renewed in their files."""
    names = {"fedora": "fedora", "centos": "busmon", "virtual": "stomp"}
    for bus, name in names.items():
        stage.certificates.client(name, expired=True)
        stage.proxies[bus].cut()
    yield
    for name in names.values():
        stage.certificates.client(name)


# The network between


def by_some_proxies(break_it: Callable[[Proxy, random.Random], None]) -> Do:
    @contextmanager
    def do(stage: Stage, rng: random.Random) -> Iterator[None]:
        for proxy in rng.sample(list(stage.proxies.values()), rng.randint(1, 4)):
            break_it(proxy, rng)
        yield
        for proxy in stage.proxies.values():
            proxy.heal()

    return do


# Messages


@contextmanager
def monsters(stage: Stage, _: random.Random) -> Iterator[None]:
    """Large bodies, and one nested so deeply that the listener's JSON parser gives up."""
    for bus, publisher in stage.publishers.items():
        large = publisher.stream.end._replace(body={"large": "x" * LARGE})
        huge = large._replace(outcome="error", reason="too-large", body=b"x" * HUGE)
        deep = ("error", "kills-consumer") if bus == "fedora" else ("invalid", "not-json")
        with stage.quiet(bus):
            publisher.stream.publish_all([large, huge, Sample(large.topic, *deep, b"[" * DEEP)])
    yield


FAULTS = [
    Fault("busmon killed", "busmon", killed, (0, 10)),
    Fault("busmon restarted", "busmon", restarted, (0, 10)),
    Fault("busmon suspended", "busmon", suspended, (1, 20)),
    Fault("busmon suspended for long", "busmon", suspended, (60, 120), alone=True),
    Fault("disk full", "busmon", disk_full, (1, 15)),
    Fault("foreign writer", "busmon", lambda stage, _: foreign_writer(stage.ledger), (1, 15)),
    Fault("foreign reader", "reader", lambda stage, _: foreign_reader(stage.ledger), (1, 20)),
    Fault("scrape storm", "web", scrape_storm, (5, 15)),
    Fault("RabbitMQ killed", "broker", rabbitmq_down(end=lambda s: s.rabbitmq.kill()), (0, 10)),
    Fault("RabbitMQ restarted", "broker", rabbitmq_down(end=lambda s: s.rabbitmq.stop()), (0, 10)),
    Fault("Mosquitto killed", "broker", mosquitto_killed, (0, 10), alone=True),
    Fault(
        "Mosquitto restarted", "broker", mosquitto_down(end=lambda s: s.mosquitto.stop()), (0, 10)
    ),
    Fault("ActiveMQ killed", "broker", activemq_down(end=lambda s: s.activemq.kill()), (0, 10)),
    Fault(
        "ActiveMQ restarted", "broker", activemq_down(end=lambda s: s.activemq.terminate()), (0, 10)
    ),
    Fault("queue deleted", "broker", queue_deleted, (0, 1), alone=True),
    Fault("queue crashed", "broker", queue_crashed, (0, 5)),
    Fault("connections closed", "broker", connections_closed, (0, 5)),
    Fault("permission withdrawn", "broker", permission_withdrawn, (1, 10)),
    Fault("certificate expired", "broker", certificate_expired, (1, 10)),
    Fault("network cut", "network", by_some_proxies(lambda p, _: p.cut()), (0, 3)),
    Fault("black hole", "network", by_some_proxies(lambda p, _: p.swallow()), (1, 25)),
    Fault("half-open", "network", by_some_proxies(lambda p, _: p.half_open()), (5, 25)),
    Fault(
        "network slow",
        "network",
        by_some_proxies(lambda p, rng: p.slow(rng.randint(5_000, 100_000))),
        (5, 25),
    ),
    Fault("monsters", "messages", monsters, (0, 1), alone=True),  # it keeps the buses quiet
]
