"""The commands on a ledger in PostgreSQL."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from busmon import __version__
from busmon.ledger.errors import LedgerError
from busmon.ledger.ledger import Ledger
from busmon.ledger.postgresql.migrations import migrate
from busmon.ledger.postgresql.versions import VERSION
from busmon.settings.postgresql import Database
from tests.support.busmon_process import Busmon
from tests.support.command import busmon
from tests.support.ledger_server import PASSWORD, LedgerServer
from tests.support.ledgers import counted, database_at, judged
from tests.support.past import BUS, IDS, Past

REPLAY = f"""
[buses.{BUS}]
type = "replay"
rules = "packit"
files = ["nothing.jsonl"]
[audit]
window = "4s"
grace = "1s"
[audit.reports]
bus = "{BUS}"
token = "t"
"""


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    (tmp_path / "nothing.jsonl").touch()
    path = tmp_path / "busmon.toml"
    path.write_text(REPLAY)
    return path


@pytest.fixture
def database(ledger_server: LedgerServer) -> tuple[Database, dict[str, str]]:
    """An empty one, and the variables that name it."""
    url = ledger_server.url_of(ledger_server.emptied())
    return database_at(url), {"BUSMON__LEDGER__URL": url}


def fill(past: Past) -> None:
    """Let three of five messages that should reach the listener be missing there."""
    for message_id in IDS[:4]:
        past.receive(message_id, after=9)
    past.receive(IDS[4], after=9, handled=False)
    past.report(IDS[0])
    past.watch(0, 100)
    past.close(until=60)


def test_what_the_commands_read_is_the_same_in_both_engines(
    configuration: Path,
    database: tuple[Database, Mapping[str, str]],
    tmp_path: Path,
) -> None:
    place, variables = database
    in_file = Past(tmp_path)
    in_database = Past(tmp_path, place=place, start=in_file.start)
    for past in (in_file, in_database):
        with closing(past.ledger):
            fill(past)
    for command, status in {
        "gaps": 1,
        "gaps --all --format json": 1,
        "gaps --format ids": 1,
        "gaps accepted": 0,
        f"trace {IDS[0]} --no-archive": 0,
        f"trace {IDS[1]} --json --no-archive": 0,
        "incidents --since 2026-01-01": 0,
    }.items():
        of_file, of_database = (
            busmon(*command.split(), "-c", configuration, env=place_of, status=status).stdout
            for place_of in ({"BUSMON__LEDGER__PATH": in_file.path}, variables)
        )
        assert of_file == of_database != "", command


def test_the_service_answers_from_a_database(
    database: tuple[Database, Mapping[str, str]], tmp_path: Path
) -> None:
    place, variables = database
    with closing(Ledger(place)) as ledger:
        ledger.record(judged(*IDS[:3]))
    service = Busmon(tmp_path, {}, url=variables["BUSMON__LEDGER__URL"])
    (tmp_path / "nothing.jsonl").touch()
    service.configure(REPLAY)
    with service:
        assert service.counts().total() == 3
        found = busmon("find", IDS[1], "-c", service.configuration).stdout
        assert IDS[1] in found
        busmon("status", "-c", service.configuration, status=1)
        refused = busmon("ledger", "migrate", "-c", service.configuration, status=1).stderr
        assert refused == f"busmon: {place}: in use by another busmon; stop all of them first\n"
        assert service.terminate() == 0
    assert PASSWORD not in service.log.read_text()


def test_a_ledger_of_this_version_needs_no_migration(
    configuration: Path, database: tuple[Database, Mapping[str, str]]
) -> None:
    place, variables = database
    migrate_it = ("ledger", "migrate", "-c", configuration)
    ended = busmon(*migrate_it, env=variables, status=1)
    text = "has no ledger yet; the first `busmon run` makes it"
    assert ended.stderr == f"busmon: {place}: {text}\n"
    Ledger(place).close()
    ended = busmon(*migrate_it, env=variables)
    assert ended.stdout == f"the ledger has version {VERSION}; it needs no migration\n"
    file = {"BUSMON__LEDGER__PATH": "ledger.sqlite"}
    text = "the ledger is a file, which `busmon run` migrates\n"
    assert busmon(*migrate_it, env=file).stdout == text


def test_an_older_ledger_is_migrated_as_a_whole_or_not_at_all(
    ledger_server: LedgerServer,
) -> None:
    name = ledger_server.emptied()
    place = database_at(ledger_server.url_of(name))
    with closing(Ledger(place)) as ledger:
        ledger.record(judged(*IDS[:3]))
    older = f"UPDATE busmon.versions SET version = {VERSION - 2}"
    ledger_server.sql(f"{older}; ALTER TABLE busmon.buses DROP COLUMN tap_reported", name)
    with pytest.raises(LedgerError, match=r"from which no step leads here$"):
        migrate(place)
    adding = "ALTER TABLE buses ADD COLUMN tap_reported bigint"
    with pytest.raises(LedgerError, match=r': nothing was changed: table "cats" does not exist'):
        migrate(place, {VERSION - 1: adding, VERSION: "DROP TABLE cats"})
    assert migrate(place, {VERSION - 1: adding, VERSION: "SELECT 1"}) == (VERSION - 2, VERSION)
    with closing(Ledger(place)) as ledger:
        assert counted(ledger) == 3
    written = ledger_server.sql(
        "SELECT version, busmon FROM busmon.versions ORDER BY version", name
    )
    assert written[1:] == [(VERSION - 1, __version__), (VERSION, __version__)]
