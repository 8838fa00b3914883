"""`busmon ledger copy`, from a file to a database."""

import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from busmon.ledger.ledger import Ledger
from tests.support.brokers import wait_until
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.buses import Bus
from tests.support.busmon_process import PROJECT, Busmon
from tests.support.command import ENVIRONMENT, busmon
from tests.support.ledger_server import PASSWORD, LedgerServer
from tests.support.ledgers import counted, database_at, judged
from tests.support.streams import assert_exact, in_mid_stream, publish

MESSAGES = 70_000
BATCH = 10_000
# So there are many moments at which some rows are there, and not all.
IN_SMALL_PARTS = "busmon.ledger.postgresql.copying:ROWS_AT_ONCE=1000"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def name(ledger_server: LedgerServer) -> str:
    """That of an empty database."""
    return ledger_server.emptied()


@pytest.fixture
def variables(ledger_server: LedgerServer, name: str) -> Mapping[str, str]:
    return {"BUSMON__LEDGER__URL": ledger_server.url_of(name)}


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    (tmp_path / "nothing.jsonl").touch()
    path = tmp_path / "busmon.toml"
    path.write_text('[buses.b]\ntype = "replay"\nrules = "packit"\nfiles = ["nothing.jsonl"]\n')
    return path


def record(file: Path, messages: int = 1) -> None:
    with closing(Ledger(str(file))) as ledger:
        for first in range(0, messages, BATCH):
            ledger.record(judged(*range(first, min(messages, first + BATCH))))


def test_a_copy_that_is_killed_again_and_again_is_complete_in_the_end(
    file: Path,
    configuration: Path,
    variables: Mapping[str, str],
    ledger_server: LedgerServer,
    name: str,
) -> None:
    record(file, MESSAGES)
    command = ("ledger", "copy", "-c", configuration, file)

    def arrived() -> int:
        try:
            ((number,),) = ledger_server.sql("SELECT count(*) FROM busmon.messages", name)
        except psycopg.errors.UndefinedTable:
            return 0
        return int(str(number))

    seen = []
    for _ in range(3):
        before = arrived()
        with subprocess.Popen(
            [sys.executable, "-m", "tests.support.constants", IN_SMALL_PARTS, *command],
            env=ENVIRONMENT | dict(variables),
            cwd=PROJECT,
            stdout=subprocess.DEVNULL,
        ) as process:
            wait_until(lambda: arrived() > before, what="more rows")  # noqa: B023 - now
            process.kill()
        wait_until(lambda: not ledger_server.backends(), what="the end of its session")
        seen.append(arrived())
    assert 0 < seen[0] < seen[1] < seen[2] <= MESSAGES
    output = busmon(*command, env=variables).stdout
    assert PASSWORD not in output
    assert f"messages: {seen[2]:,} of {MESSAGES:,} rows are there\n" in output
    assert output.splitlines()[-1].startswith("done: ")
    with closing(Ledger(database_at(variables["BUSMON__LEDGER__URL"]))) as ledger:
        assert counted(ledger) == MESSAGES
        assert ledger.record(judged(*range(MESSAGES - 100, MESSAGES + 50))).duplicates == 100


def test_what_cannot_be_copied_is_refused(
    file: Path, configuration: Path, variables: Mapping[str, str]
) -> None:
    database = database_at(variables["BUSMON__LEDGER__URL"])

    def refusal(given: Path, env: Mapping[str, str] = variables, status: int = 1) -> str:
        words = ("ledger", "copy", "-c", configuration, given)
        return busmon(*words, env=env, status=status).stderr.removeprefix("busmon: ").rstrip("\n")

    assert refusal(file) == f"{file}: no such ledger"
    assert refusal(configuration) == (
        f"{configuration}: not a ledger of busmon, or damaged at its beginning; name another file,"
        " or move it away: busmon starts a new one, with all counters at zero"
    )
    record(file)
    assert refusal(file, {}, 2) == "ledger.url: should name the database to copy to"
    with closing(Ledger(str(file))):
        assert refusal(file) == f"{file}: in use by a busmon; stop it first"
    with closing(Ledger(database)) as ledger:
        assert refusal(file) == f"{database}: in use by a busmon; stop it first"
        ledger.record(judged("another"))
    assert refusal(file) == (
        f"{database}: already has a ledger; to replace it, stop its busmon, and run DROP SCHEMA"
        " busmon CASCADE there"
    )
    with closing(Ledger(database)) as ledger:
        assert counted(ledger) == 1


def test_a_busmon_on_a_copy_goes_on_where_the_one_on_the_file_was_killed(
    fedora: Bus, rabbitmq: RabbitMQ, variables: Mapping[str, str], tmp_path: Path
) -> None:
    buses, repeated = {"fedora": fedora.settings}, Publication(topic="the.end")
    fedora.stream.expected["fedora", "the.end", "unmapped", ""] += 1
    for directory in ("file", "database"):
        (tmp_path / directory).mkdir()
    with Busmon(tmp_path / "file", buses) as before:
        before.wait_until_ready()
        rabbitmq.publish([repeated])
        publish([fedora.stream], 1000)
        with in_mid_stream(before, [fedora.stream], any):
            before.kill()
    after = Busmon(tmp_path / "database", buses, url=variables["BUSMON__LEDGER__URL"])
    busmon("ledger", "copy", "-c", after.configuration, tmp_path / "file/ledger.sqlite")
    with after:
        rabbitmq.publish([repeated])
        assert_exact(after, [fedora.stream])
        assert after.duplicates()["fedora",] >= 1
