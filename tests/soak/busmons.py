"""The busmons of a soak: one with its ledger in a file, or three with one in a database."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tests.support.brokers import wait_until
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.proxy import Proxy
from tests.support.busmon_process import Busmon
from tests.support.exposition import Series
from tests.support.ledger_server import LedgerServer, directory
from tests.support.replicas import leader_of, metric
from tests.support.streams import Stream

T = TypeVar("T")
REPLICAS = 3
PATIENCE = 180.0  # seconds: other things run beside a soak


@dataclass(frozen=True, slots=True)
class Busmons:
    """All that have the ledger, each with a proxy in front of its database, if it is in one."""

    all: Sequence[Busmon]
    server: LedgerServer | None = None
    proxies: Sequence[Proxy] = ()

    def leader(self) -> Busmon:
        """Wait until one leads, and return it."""
        return leader_of(list(self.all)) if self.server else self.all[0]

    def any(self, rng: random.Random) -> Busmon:
        return rng.choice(self.all)

    @contextmanager
    def ended(self) -> Iterator[None]:
        """Meanwhile none of them runs."""
        for busmon in self.all:
            assert busmon.terminate(seconds=30) == 0
        yield
        for busmon in self.all:
            busmon.start()

    def said(self) -> set[str]:
        """Return what their /ready name: buses, and the ledger."""
        found: set[str] = set()
        for busmon in self.all:
            with suppress(OSError):
                found |= busmon.troubles().keys()
        return found

    def wait_until_ready(self) -> None:
        """Wait until each receives from its buses."""
        for busmon in self.all:
            ready = partial(is_ready, busmon)
            wait_until(ready, PATIENCE, f"{busmon.url}/ready to be ready")

    def counts(self) -> Counter[Series]:
        """Return busmon_messages_total of the one that leads."""
        return again(lambda: self.leader().counts())

    def assert_exact(self, streams: Iterable[Stream]) -> None:
        """Check that each has counted each message of these streams exactly once."""
        ended = [(stream.finish(), stream.expected) for stream in streams]
        last, expected = [series for series, _ in ended], Counter[Series]()
        for _, of_stream in ended:
            expected += of_stream
        for busmon in self.all:
            again(partial(busmon.wait_until_counted, expected, last, PATIENCE))
        if self.server:
            wait_until(self._is_complete, PATIENCE, "one to lead all replicas")

    def _is_complete(self) -> bool:
        with suppress(OSError):
            leading = [metric(busmon, "busmon_replica_leader") for busmon in self.all]
            known = [metric(busmon, "busmon_replicas") for busmon in self.all]
            return sorted(leading) == [0, 0, 1] and known == [REPLICAS] * REPLICAS
        return False


def again(ask: Callable[[], T]) -> T:
    """Ask until there is an answer: while a busmon begins to lead, it gives none."""
    answers: list[T] = []

    def answered() -> bool:
        with suppress(OSError):
            answers.append(ask())
        return bool(answers)

    wait_until(answered, PATIENCE, "busmon to answer")
    return answers[0]


def is_ready(busmon: Busmon) -> bool:
    """Return whether all its buses are received. While it starts, nobody answers."""
    with suppress(OSError):
        return not busmon.troubles()
    return False


Buses = Mapping[str, Mapping[str, Any]]


def configured(busmon: Busmon, more: str) -> Busmon:
    """Return it with more in its configuration, and the environment that is shipped."""
    busmon.configure(more)
    busmon.put_into_environment(MALLOC_ARENA_MAX=1)
    return busmon


@contextmanager
def with_file(path: Path, buses: Buses, more: str) -> Iterator[Busmons]:
    """Run one busmon; `more` is added to its configuration."""
    busmon = configured(Busmon(path, buses), more)
    with busmon:
        yield Busmons([busmon])


@contextmanager
def with_database(
    path: Path, certificates: Certificates, buses: Buses, more: str
) -> Iterator[Busmons]:
    """Run three busmons and a PostgreSQL; `more` is added to their configuration."""
    with ExitStack() as stack:
        server = LedgerServer(stack.enter_context(directory("soak")), certificates)
        stack.enter_context(server)
        server.prepare()
        database = server.database()
        busmons, proxies = [], []
        for number in range(REPLICAS):
            proxies.append(stack.enter_context(Proxy(server.port)))
            url = server.url_of(database, proxies[-1].port)
            own = path / f"busmon-{number}"
            own.mkdir()
            busmons.append(configured(Busmon(own, buses, url=url), more))
            stack.enter_context(busmons[-1])
        yield Busmons(busmons, server, proxies)
