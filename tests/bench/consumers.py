"""Consumers as processes, each drained of its full queue; see `measure.drain`."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from busmon.ledger.engines import open_read_only
from tests.bench.measure import Run, drain
from tests.support.brokers import Server, wait_until
from tests.support.busmon_process import PROJECT, Busmon

DONE = "done"  # what a consumer prints when it has acknowledged its last message


def drain_busmon(
    directory: Path, settings: Mapping[str, Any], fill: Callable[[], object], messages: int
) -> Run:
    """Time busmon with one bus until all messages are on disk; check that it counted them."""
    busmon = Busmon(directory, {"bench": settings})
    return drain_started(busmon, fill, messages, partial(recorded, directory / "ledger.sqlite"))


def drain_started(
    busmon: Busmon, fill: Callable[[], object], messages: int, on_disk: Callable[[], int]
) -> Run:
    """Start a busmon with one bus, and do the same; `on_disk` returns what its ledger has."""
    with busmon:
        busmon.wait_until_ready()
        run = drain([busmon], fill, messages, lambda: on_disk() >= messages)
        check_counted([busmon], messages)
        assert busmon.output().count("connected to") == 1, busmon.output()
    return run


def check_counted(busmons: Sequence[Busmon], messages: int) -> None:
    """Check that these busmons together show so many messages, soon after they are on disk."""

    def counted() -> int:
        return sum(busmon.counts().total() for busmon in busmons)

    wait_until(lambda: counted() >= messages, what=f"{messages} messages in /metrics")
    assert counted() == messages


def recorded(ledger: Path) -> int:
    """Return how many messages a ledger has counted by now, without its busmon."""
    with open_read_only(str(ledger)) as tables:
        return sum(count.messages for count in tables.counters.all().values())


def drain_other(
    directory: Path,
    command: Sequence[str | Path],
    ready: Callable[[Server], bool],
    fill: Callable[[], object],
    messages: int,
    drained: Callable[[Server], bool] = lambda server: server.logged(DONE),
) -> Run:
    """Time another consumer, which ends after $MESSAGES messages."""
    env = {"PYTHONPATH": str(PROJECT), "MESSAGES": str(messages)}
    with Server(command, directory / "consumer.log", env, directory, ready=ready) as server:
        return drain([server], fill, messages, lambda: drained(server))
