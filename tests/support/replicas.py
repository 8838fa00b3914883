"""Several busmons with one database."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.brokers import wait_until
from tests.support.busmon_process import Busmon
from tests.support.constants import set_constants

WARNING = (  # the tests' server is fast
    "warning: ledger: switched off in the server: fsync and full_page_writes; if its machine"
    " crashes, what busmon has acknowledged may be lost, and the ledger damaged"
)


@contextmanager
def replicas(
    number: int,
    directory: Path,
    buses: Mapping[str, Mapping[str, Any]],
    url: str,
    more: str = "",
    constants: Mapping[str, float] | None = None,
) -> Iterator[list[Busmon]]:
    """Run so many busmons with one database, and more in their configuration. The first leads.

    `constants` are as in `set_constants`.
    """
    with ExitStack() as stack:
        started = []
        for name in map(str, range(number)):
            (directory / name).mkdir()
            started.append(Busmon(directory / name, buses, url=url))
            started[-1].configure(more)
            if constants:
                set_constants(started[-1], constants)
            stack.enter_context(started[-1])
        yield started


def leads(busmon: Busmon) -> bool:
    return metric(busmon, "busmon_replica_leader") == 1


def metric(busmon: Busmon, name: str) -> float:
    """Return the value of a metric with one series."""
    _, lines = busmon.ask(f"/metrics?name[]={name}")
    if not lines:
        raise ConnectionError("closed in the middle of the answer, or no ledger is open")
    return float(lines[-1].rpartition(" ")[2])


def says(busmon: Busmon, line: str) -> bool:
    """Return whether /ready says this. While it starts, nobody answers."""
    with suppress(OSError):
        return busmon.ask("/ready") == (200, [line, WARNING])
    return False


def leader_of(several: list[Busmon]) -> Busmon:
    """Wait until one leads, and return it."""

    def find() -> list[Busmon]:
        found = []
        for busmon in several:
            with suppress(OSError):  # it begins to lead
                found += [busmon] if leads(busmon) else []
        return found

    return wait_until(find, what="one to lead")[0]
