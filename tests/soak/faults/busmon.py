"""Faults of busmon's processes and of the ledger."""

import os
import random
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from urllib.request import urlopen

from tests.ledger.sql import foreign_reader, foreign_writer
from tests.soak.faults.fault import Do, Fault
from tests.soak.stage import Stage
from tests.support.brokers.proxy import Proxy
from tests.support.busmon_process import Busmon
from tests.support.streams import standing_still

SCRAPERS = 20
Pick = Callable[[Stage, random.Random], Busmon]


def any_one(stage: Stage, rng: random.Random) -> Busmon:
    return stage.busmons.any(rng)


def leader(stage: Stage, _: random.Random) -> Busmon:
    return stage.busmons.leader()


def killed(pick: Pick = any_one) -> Do:
    @contextmanager
    def do(stage: Stage, rng: random.Random) -> Iterator[Collection[str]]:
        busmon = pick(stage, rng)
        busmon.kill()
        yield ()
        busmon.start()

    return do


def suspended(pick: Pick = any_one) -> Do:
    @contextmanager
    def do(stage: Stage, rng: random.Random) -> Iterator[Collection[str]]:
        with standing_still(pick(stage, rng)):
            yield ()

    return do


@contextmanager
def restarted(stage: Stage, rng: random.Random) -> Iterator[Collection[str]]:
    busmon = stage.busmons.any(rng)
    assert busmon.terminate(seconds=30) == 0
    yield ()
    busmon.start()


@contextmanager
def scrape_storm(stage: Stage, rng: random.Random) -> Iterator[Collection[str]]:
    over, url = threading.Event(), stage.busmons.any(rng).url

    def scrape() -> None:
        while not over.is_set():
            for path in ("/metrics", "/", "/ready"):
                with suppress(OSError), urlopen(url + path, timeout=5) as answer:
                    answer.read()

    threads = [threading.Thread(target=scrape, daemon=True) for _ in range(SCRAPERS)]
    for thread in threads:
        thread.start()
    try:
        yield ()
    finally:
        over.set()
        for thread in threads:
            thread.join()


FAULTS = [
    Fault("busmon killed", "busmon", killed(), (0, 10)),
    Fault("busmon restarted", "busmon", restarted, (0, 10)),
    Fault("busmon suspended", "busmon", suspended(), (1, 20)),
    Fault("busmon suspended for long", "busmon", suspended(), (60, 120), alone=True),
    Fault("scrape storm", "web", scrape_storm, (5, 15)),
]


# A ledger in a file


@contextmanager
def disk_full(stage: Stage, rng: random.Random) -> Iterator[Collection[str]]:
    """No file of the process can grow, not even the log."""
    busmon = stage.busmons.any(rng)
    busmon.limit_files(4096)
    yield ["ledger"]
    busmon.limit_files("unlimited")


@contextmanager
def written_by_others(stage: Stage, _: random.Random) -> Iterator[Collection[str]]:
    with foreign_writer(stage.ledger):
        yield ()


@contextmanager
def read_by_others(stage: Stage, _: random.Random) -> Iterator[Collection[str]]:
    with foreign_reader(stage.ledger):
        yield ()


OF_FILE = [
    Fault("disk full", "busmon", disk_full, (1, 15)),
    Fault("foreign writer", "busmon", written_by_others, (1, 15)),
    Fault("foreign reader", "reader", read_by_others, (1, 20)),
]


# A ledger in a database


@contextmanager
def database_killed(stage: Stage, _: random.Random) -> Iterator[Collection[str]]:
    assert stage.busmons.server
    with stage.busmons.server.away():
        yield ["ledger"]


@contextmanager
def database_restarted(stage: Stage, _: random.Random) -> Iterator[Collection[str]]:
    server = stage.busmons.server
    assert server
    os.kill(server.pid, signal.SIGINT)
    server.wait()
    yield ()
    server.start()


@contextmanager
def connections_ended(stage: Stage, _: random.Random) -> Iterator[Collection[str]]:
    assert stage.busmons.server
    stage.busmons.server.disconnect()
    yield ()


def cut_off(break_it: Callable[[Proxy], None]) -> Do:
    """Return a fault in which the network between a busmon and the database fails."""

    @contextmanager
    def do(stage: Stage, rng: random.Random) -> Iterator[Collection[str]]:
        proxy = rng.choice(stage.busmons.proxies)
        break_it(proxy)
        yield ()
        proxy.heal()

    return do


OF_DATABASE = [
    Fault("leader killed", "busmon", killed(leader), (0, 20)),
    Fault("leader suspended", "busmon", suspended(leader), (1, 30)),
    Fault("database killed", "busmon", database_killed, (0, 10)),
    Fault("database restarted", "busmon", database_restarted, (0, 10)),
    Fault("database's connections ended", "busmon", connections_ended, (0, 3)),
    Fault("cut off from the database", "busmon", cut_off(Proxy.cut), (0, 3)),
    Fault("black hole before the database", "busmon", cut_off(Proxy.swallow), (1, 30)),
    Fault("half-open to the database", "busmon", cut_off(Proxy.half_open), (1, 20)),
]
