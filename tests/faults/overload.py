"""Overload: for minutes, publishers send five times as much as busmon takes.

`python -m tests.faults.overload [--minutes 10]` prints what was measured. It ends with an
AssertionError if busmon grew, answered late, lost something or did not catch up.

No publisher is five times as fast as busmon on the same processors, so busmon is slowed: it
runs for `SHARE` of each `PERIOD` and is stopped (SIGSTOP) for the rest. How much it then takes
is measured on a backlog. It has several buses, and the broker copies each message to all of
them. Only what the broker has confirmed counts as published.
"""

import argparse
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from uuid import uuid4

from tests.support.brokers import wait_until
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.rabbitmq import VHOST, Publication, RabbitMQ
from tests.support.busmon_process import Busmon
from tests.support.exposition import Series

PERIOD, SHARE = 0.1, 0.15  # seconds, and the part of them in which busmon runs
BUSES = [f"fedora-{number}" for number in range(4)]
RATIO = 5.0  # published to counted, at least
PUBLISHERS = 2
MEASURING = 15.0  # seconds in which is measured how much busmon takes
BACKLOG = 8000  # pairs of messages to each bus, more than it takes meanwhile
PROBING = 1.0  # seconds between two requests
ANSWER = 1.0  # seconds that an answer may take
MIB = 2**20
GROWTH = 16.0  # MiB
SLOWEST = 300.0  # messages a second when catching up

TOPIC = "org.fedoraproject.prod.copr.build.end"
USERS = {"packit": ("handled", ""), "alice": ("ignored", "not-packit-user")}


class Probe(threading.Thread):
    """Asks busmon repeatedly, and notes the time of each answer and the memory of the process."""

    def __init__(self, busmon: Busmon, broker: RabbitMQ) -> None:
        super().__init__(daemon=True)
        self._busmon, self._broker = busmon, broker
        self._ended = threading.Event()
        self.answers: dict[str, list[float]] = {"/metrics": [], "/ready": []}
        self.refused: list[str] = []
        self.memory: list[float] = []
        self.broker_memory = 0.0

    def run(self) -> None:
        while not self._ended.wait(PROBING):
            for path, answers in self.answers.items():
                started = time.monotonic()
                status, lines = self._busmon.ask(path, 30 * ANSWER)
                answers.append(time.monotonic() - started)
                if status != 200:
                    self.refused += lines
            self.memory.append(self._busmon.memory() / MIB)
            self.broker_memory = max(self.broker_memory, self._broker.server.memory() / MIB)

    def end(self) -> None:
        """Ask no more. Raise the error that ended it, if any."""
        assert self.is_alive(), "busmon did not answer at all"
        self._ended.set()
        self.join()

    def slow(self) -> dict[str, float]:
        """Return so far which time nine of ten answers did not exceed."""
        return {
            f"{path} 90 % s": quantiles(times, n=10)[-1] for path, times in self.answers.items()
        }

    def figures(self) -> dict[str, float]:
        worst = {f"{path} max s": max(answers) for path, answers in self.answers.items()}
        return worst | {"broker peak MiB": self.broker_memory}


@contextmanager
def slowed(pid: int) -> Iterator[None]:
    """Let a process run for only `SHARE` of the time."""
    ended = threading.Event()

    def alternate() -> None:
        while not ended.wait(PERIOD * SHARE):
            os.kill(pid, signal.SIGSTOP)
            ended.wait(PERIOD * (1 - SHARE))
            os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=alternate, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def both() -> Iterator[Publication]:
    """Yield a message by each user."""
    for user in USERS:
        yield Publication(topic=TOPIC, body=json.dumps({"user": user, "pad": "x" * 200}).encode())


def messages(rate: float, ended: threading.Event) -> Iterator[Publication]:
    """Yield a message by each user, so many times a second."""
    started = time.monotonic()
    for number in count():
        early = number / rate - (time.monotonic() - started)
        if ended.wait(early) if early > 0.01 else ended.is_set():
            return
        yield from both()


def publish(broker: RabbitMQ, rate: float, seconds: float) -> int:
    """Publish so many messages each second; return how many the broker has taken for the buses."""
    ended = threading.Event()
    with ThreadPoolExecutor(PUBLISHERS) as threads:
        each = rate / PUBLISHERS / len(USERS) / len(BUSES)
        sent = [threads.submit(broker.publish, messages(each, ended)) for _ in range(PUBLISHERS)]
        time.sleep(seconds)
        ended.set()
        return sum(future.result() for future in sent) * len(BUSES)


def expectation(published: int) -> Counter[Series]:
    each = published // len(USERS) // len(BUSES)
    return Counter({(bus, TOPIC, *labels): each for bus in BUSES for labels in USERS.values()})


def main(minutes: float) -> dict[str, float]:
    """Run it, and return the figures."""
    with TemporaryDirectory(prefix="busmon-overload-") as name:
        directory = Path(name)
        broker = RabbitMQ(directory / "rabbitmq", Certificates(directory))
        try:
            broker.start()
            # In place of the public broker's limit, which would drop the backlog.
            policy = ("as-on-the-public-broker", ".*", '{"queue-mode": "lazy"}')
            broker.ctl("set_policy", "-p", VHOST, *policy, "--apply-to", "queues")
            return overload(broker, directory, minutes)
        finally:
            broker.close()


def overload(broker: RabbitMQ, directory: Path, minutes: float) -> dict[str, float]:
    config = broker.fedora_toml(directory / "fedora.toml", tls=False)
    queues = {bus: str(uuid4()) for bus in BUSES}
    shared = {"type": "amqp", "rules": "packit", "config": config}
    buses = {bus: shared | {"queue": queue} for bus, queue in queues.items()}
    with Busmon(directory, buses) as busmon:
        busmon.wait_until_ready()
        with slowed(busmon.pid):
            published = len(BUSES) * broker.publish(m for _ in range(BACKLOG) for m in both())
            probe = Probe(busmon, broker)
            probe.start()
            before = busmon.counts().total()
            time.sleep(MEASURING)
            taken = (busmon.counts().total() - before) / MEASURING
            small = max(probe.memory)
            before = busmon.counts().total()
            sent = publish(broker, taken * RATIO * 1.1, minutes * 60)
            slow = probe.slow()
            counted = busmon.counts().total() - before
        published += sent
        waiting = published - busmon.counts().total()
        started = time.monotonic()
        expected = expectation(published)
        wait_until(
            lambda: busmon.counts().total() >= published,
            60 + waiting / SLOWEST,
            f"{waiting} messages to be caught up with",
        )
        caught_up = time.monotonic() - started
        probe.end()
        figures = {
            "minutes": minutes,
            "taken/s": taken,
            "published/s": sent / minutes / 60,
            "published": published,
            "ratio": sent / counted,
            "waiting": waiting,
            "caught up s": caught_up,
            "before MiB": small,
            "peak MiB": max(probe.memory),
            **slow,
            **probe.figures(),
        }
        print(json.dumps({key: round(value, 3) for key, value in figures.items()}, indent=2))
        assert busmon.counts() == expected
        assert busmon.duplicates() == {}
        assert [broker.queue_count(queue) for queue in queues.values()] == [0] * len(BUSES)
    assert figures["ratio"] >= RATIO, "the publishers were too slow: make SHARE smaller"
    assert not probe.refused, probe.refused[:5]
    assert max(map(max, probe.answers.values())) < ANSWER
    assert figures["peak MiB"] - small < GROWTH
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    main(parser.parse_args().minutes)
