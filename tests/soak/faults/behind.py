"""Faults of what is behind the bus: the listener, the workers, their broker, the archive."""

import random
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from tests.soak.behind import BUS
from tests.soak.faults.fault import Fault
from tests.soak.stage import Stage


@contextmanager
def listener_killed(stage: Stage, _: random.Random) -> Iterator[Collection[str]]:
    """Its queue keeps what comes; what it had not reported is unconfirmed."""
    stage.behind.wait_until_caught_up()  # of what was late, it would be missing
    stage.behind.listener.kill()
    yield ()
    stage.behind.listener.start()


@contextmanager
def listener_restarted(stage: Stage, _: random.Random) -> Iterator[Collection[str]]:
    stage.behind.listener.terminate()
    yield ()
    stage.behind.listener.start()


@contextmanager
def worker_restarted(stage: Stage, _: random.Random) -> Iterator[Collection[str]]:
    """It finishes its task first."""
    stage.behind.worker.terminate()
    yield ()
    stage.behind.worker.start()


@contextmanager
def redis_restarted(stage: Stage, _: random.Random) -> Iterator[Collection[str]]:
    """It loses all tasks, so there are none."""
    with stage.quiet(BUS):
        stage.behind.wait_until_worked()
        stage.behind.redis.server.kill()
        yield ()
        stage.behind.redis.server.start()


@contextmanager
def redis_cut(stage: Stage, _: random.Random) -> Iterator[Collection[str]]:
    """Busmon does not receive the events of that time."""
    stage.redis.cut()
    stage.redis.swallow()
    yield ()
    stage.redis.heal()


@contextmanager
def archive_away(stage: Stage, _: random.Random) -> Iterator[Collection[str]]:
    with stage.behind.archive.away():
        yield ()


FAULTS = [
    Fault("listener killed", "listener", listener_killed, (0, 10)),
    Fault("listener restarted", "listener", listener_restarted, (0, 10)),
    Fault("worker restarted", "worker", worker_restarted, (0, 10)),
    Fault("Redis restarted", "worker", redis_restarted, (0, 10), alone=True),
    Fault("Redis cut off", "worker", redis_cut, (1, 20)),
    Fault("archive away", "archive", archive_away, (0, 20)),
]
