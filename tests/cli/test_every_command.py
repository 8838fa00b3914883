"""Every command that has to do with a ledger, with one in each engine."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest

from busmon.cli.main import main
from tests.support.brokers import free_port, wait_until
from tests.support.busmon_process import Busmon
from tests.support.command import busmon
from tests.support.ledger_server import LedgerServer
from tests.support.ledgers import database_at
from tests.support.past import BUS, IDS, Past

SETTINGS = f"""
[archive]
bus = "{BUS}"
url = "http://127.0.0.1:{free_port()}"
contact = "me@example.com"
[web.operators.ann]
password = "w0rd"
"""
OTHERS = {"demo", "explain", "lint", "replay"}  # they open no ledger, or one of their own
SILENT = (1, "busmon does not answer at")
MISSING = (1, "2 missing")
# The exit status and a part of what is printed: while `busmon run` runs, and after it.
COMMANDS = {
    "check-config": 2 * ((0, "fedora: replay, rules packit"),),
    "status": ((0, "still lost: 2 messages of 1 window"), SILENT),
    "gaps": (MISSING, MISSING),
    "incidents": 2 * ((0, "2 messages still lost"),),
    f"trace {IDS[1]} --no-archive": 2 * ((0, "missing at the listener"),),
    f"find {IDS[1]}": ((0, IDS[1]), SILENT),
    "forget --owner ann": ((0, "forgotten in 0 sets of keys"), SILENT),
    "gaps accept --since 1h --reason lost": ((0, "acceptance 1: "), SILENT),
    "gaps reopen 1": ((0, "acceptance 1: "), SILENT),
    "gaps accepted": 2 * ((0, "lost"),),
    # Without the service it learns: see tests/archive.
    "learn": ((0, "the service learns, and has learned 0%"), None),
}
OF_FILE = (0, "the ledger is a file, which `busmon run` migrates")
OF_ENGINE = {
    "sqlite": {
        "ledger migrate": (OF_FILE, OF_FILE),
        "ledger copy none.sqlite": 2 * ((2, "ledger.url: should name the database to copy to"),),
    },
    "postgresql": {
        "ledger migrate": ((1, "stop all of them first"), (0, "it needs no migration")),
        "ledger copy none.sqlite": 2 * ((1, "none.sqlite: no such ledger"),),
    },
}


def commands(group: click.Group = main, before: str = "") -> Iterator[str]:
    """Yield all commands, with those of groups."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield before + name


def test_the_table_has_every_command() -> None:
    found = {*OTHERS, "run"}
    for words in (*COMMANDS, *OF_ENGINE["postgresql"]):
        first, _, rest = words.partition(" ")
        second = rest.partition(" ")[0]
        found.add(f"{first} {second}" if first in {"gaps", "ledger"} and second else first)
    assert found == {*commands()}


@pytest.mark.parametrize("engine", OF_ENGINE)
def test_every_command_works_with_a_ledger_in_each_engine(
    request: pytest.FixtureRequest, engine: str, tmp_path: Path
) -> None:
    ledger = {}
    if engine == "postgresql":
        server: LedgerServer = request.getfixturevalue("ledger_server")
        ledger["url"] = server.url_of(server.cleared())
    past = Past(tmp_path, place=database_at(ledger["url"]) if ledger else None)
    with closing(past.ledger):
        for message_id in IDS[:2]:
            past.receive(message_id, after=9)
        past.watch(0, 100)
        past.close(until=60)
    (tmp_path / "nothing.jsonl").touch()
    bus = {"type": "replay", "rules": "packit", "files": [str(tmp_path / "nothing.jsonl")]}
    service = Busmon(tmp_path, {BUS: bus}, **ledger)
    service.configure(SETTINGS)
    with service:
        well = '"kind": "none"'
        wait_until(lambda: well in service.ask("/v1/status")[1][0], what="the first verdict")
        assert_answers(service, engine, 0)
        assert service.terminate() == 0
    assert_answers(service, engine, 1)


def assert_answers(service: Busmon, engine: str, when: int) -> None:
    """Each command has the exit status of the table, and prints what it has there."""
    for command, expected in (COMMANDS | OF_ENGINE[engine]).items():
        if answer := expected[when]:
            status, part = answer
            ended = busmon(*command.split(), "-c", service.configuration, status=status)
            assert part in ended.stdout + ended.stderr, command
