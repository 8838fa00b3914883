"""Faults of the brokers, and of the network between them and busmon."""

import os
import random
import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial

from tests.soak.behind import BUS
from tests.soak.faults.fault import Do, Fault
from tests.soak.stage import Stage
from tests.support.brokers import wait_until
from tests.support.brokers.proxy import Proxy
from tests.support.brokers.rabbitmq import VHOST

AMQP = "fedora", BUS


def broker_down(
    *buses: str, end: Callable[[Stage], object], start: Callable[[Stage], object]
) -> Do:
    """Return a fault in which a broker is down; nobody publishes to its buses meanwhile."""

    @contextmanager
    def do(stage: Stage, _: random.Random) -> Iterator[Collection[str]]:
        with stage.quiet(*buses):
            end(stage)
            yield buses
            start(stage)

    return do


rabbitmq_down = partial(broker_down, *AMQP, start=lambda stage: stage.rabbitmq.start())
mosquitto_down = partial(broker_down, "centos", start=lambda stage: stage.mosquitto.start())
activemq_down = partial(
    broker_down, "durable", "virtual", start=lambda stage: stage.activemq.start()
)


@contextmanager
def mosquitto_killed(stage: Stage, _: random.Random) -> Iterator[Collection[str]]:
    """It loses what it had not saved, so it saves when everything is counted."""
    saved = stage.directory / "mosquitto" / "mosquitto.db"
    with stage.drained("centos"):
        saved.unlink(missing_ok=True)
        os.kill(stage.mosquitto.server.pid, signal.SIGUSR1)
        wait_until(saved.exists, what="Mosquitto to save its sessions")
        stage.mosquitto.close()
        yield ["centos"]
        stage.mosquitto.start()


@contextmanager
def queue_deleted(stage: Stage, rng: random.Random) -> Iterator[Collection[str]]:
    """The messages of a deleted queue are lost, so it is empty, and stays so until it is back."""
    bus = rng.choice(AMQP)
    with stage.drained(bus):
        stage.rabbitmq.delete_queue(stage.queues[bus])
        wait_until_consumed(stage, bus)
    yield ()


@contextmanager
def queue_deleted_while_away(stage: Stage, _: random.Random) -> Iterator[Collection[str]]:
    """What is published then, only the listener and the archive have."""
    with stage.drained(BUS):
        with stage.busmons.ended():
            stage.rabbitmq.delete_queue(stage.queues[BUS])
            stage.behind.publish_unseen()
        wait_until_consumed(stage, BUS)
    yield ()


def wait_until_consumed(stage: Stage, bus: str) -> None:
    queue = stage.queues[bus]
    wait_until(lambda: stage.rabbitmq.consumer_count(queue), 60, "the queue to be back")


@contextmanager
def queue_crashed(stage: Stage, rng: random.Random) -> Iterator[Collection[str]]:
    """The broker starts it again, with what is on disk and its consumer."""
    bus = rng.choice(AMQP)
    with stage.quiet(bus):
        stage.rabbitmq.crash_queue(stage.queues[bus])
    yield ()


@contextmanager
def connections_closed(stage: Stage, _: random.Random) -> Iterator[Collection[str]]:
    with stage.quiet(*AMQP):
        stage.rabbitmq.close_connections()
    yield ()


@contextmanager
def permission_withdrawn(stage: Stage, _: random.Random) -> Iterator[Collection[str]]:
    user = ("set_permissions", "-p", VHOST, "fedora")
    stage.rabbitmq.ctl(*user, "^$", "^$", "^$")
    stage.proxies["fedora"].cut()
    yield ["fedora"]
    stage.rabbitmq.ctl(*user, ".*", ".*", ".*")


@contextmanager
def certificate_expired(stage: Stage, _: random.Random) -> Iterator[Collection[str]]:
    """They expire before a reconnection, and are renewed in their files."""
    names = {"fedora": "fedora", "centos": "busmon", "virtual": "stomp"}
    for bus, name in names.items():
        stage.certificates.client(name, expired=True)
        stage.proxies[bus].cut()
    yield names
    for name in names.values():
        stage.certificates.client(name)


def by_some_proxies(break_it: Callable[[Proxy, random.Random], None], *, noticed: bool) -> Do:
    """Return a fault of the network to some buses, which is either noticed or mended at once."""

    @contextmanager
    def do(stage: Stage, rng: random.Random) -> Iterator[Collection[str]]:
        buses = rng.sample(list(stage.proxies), rng.randint(1, 4))
        for bus in buses:
            break_it(stage.proxies[bus], rng)
        yield buses if noticed else ()
        for bus in buses:
            stage.proxies[bus].heal()

    return do


network_cut = by_some_proxies(lambda proxy, _: proxy.cut(), noticed=False)
black_hole = by_some_proxies(lambda proxy, _: proxy.swallow(), noticed=True)
half_open = by_some_proxies(lambda proxy, _: proxy.half_open(), noticed=False)
network_slow = by_some_proxies(
    lambda proxy, rng: proxy.slow(rng.randint(5_000, 100_000)), noticed=False
)
FAULTS = [
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
    Fault("queue deleted while away", "broker", queue_deleted_while_away, (0, 1), alone=True),
    Fault("queue crashed", "broker", queue_crashed, (0, 5)),
    Fault("connections closed", "broker", connections_closed, (0, 5)),
    Fault("permission withdrawn", "broker", permission_withdrawn, (1, 10)),
    Fault("certificate expired", "broker", certificate_expired, (1, 10)),
    Fault("network cut", "network", network_cut, (0, 3)),
    Fault("black hole", "network", black_hole, (1, 25)),
    Fault("half-open", "network", half_open, (5, 25)),
    Fault("network slow", "network", network_slow, (5, 25)),
]
