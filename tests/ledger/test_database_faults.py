"""A ledger in PostgreSQL whose database fails: the exact words, and that it goes on afterwards."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import NamedTuple

import pytest

from busmon import __version__
from busmon.ledger.batch import Observation
from busmon.ledger.engines import open_read_only
from busmon.ledger.errors import LedgerError, LedgerUnreachable, LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.ledger.postgresql.versions import VERSION
from tests.support.brokers import free_port
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.postgresql import USR
from tests.support.ledger_server import PASSWORD, USER, USR_OF_SERVER, LedgerServer, directory
from tests.support.ledgers import counted, database_at, judged
from tests.support.stalls import watching_for_stalls


class Fault(NamedTuple):
    """What is done to a database, and undone; the text of a write that fails meanwhile."""

    begin: str
    end: str
    text: str
    anew: bool = True  # only new connections notice


NO_DATABASE = "create it: CREATE DATABASE … OWNER … ENCODING 'UTF8' TEMPLATE template0"
STANDBY = "is it a standby? url in [ledger] can name several servers, HOST,HOST"
REMOVED = "the ledger was removed; restore a backup, or restart busmon to begin a new one"
FAULTS = {
    "only read": Fault(
        "ALTER DATABASE {db} SET default_transaction_read_only = on",
        "ALTER DATABASE {db} RESET default_transaction_read_only",
        f"the database can only be read; {STANDBY}",
    ),
    "the password changed": Fault(
        f"ALTER ROLE {USER} PASSWORD 'another'",
        f"ALTER ROLE {USER} PASSWORD '{PASSWORD}'",
        '127.0.0.1:{port}: password authentication failed for user "busmon";'
        " check user and password in [ledger]",
    ),
    "no more connections": Fault(
        "ALTER DATABASE {db} CONNECTION LIMIT 0",
        "ALTER DATABASE {db} CONNECTION LIMIT -1",
        '127.0.0.1:{port}: too many connections for database "{db}"; each busmon takes up to 5'
        " connections; raise the limit of the server, or end others",
    ),
    "no such database": Fault(
        "ALTER DATABASE {db} RENAME TO another",
        "ALTER DATABASE another RENAME TO {db}",
        '127.0.0.1:{port}: database "{db}" does not exist; ' + NO_DATABASE,
    ),
    "no rights": Fault(
        f"REVOKE INSERT, UPDATE ON ALL TABLES IN SCHEMA busmon FROM {USER}",
        f"GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA busmon TO {USER}",
        "permission denied for table \\w+;"
        " busmon's user must own the schema busmon, or be allowed to create it",
        anew=False,
    ),
    "tables that are gone": Fault(
        "ALTER TABLE busmon.messages RENAME TO others",
        "ALTER TABLE busmon.others RENAME TO messages",
        'relation "messages" does not exist; ' + REMOVED,
        anew=False,
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_reported_and_nothing_counts_until_it_ends(
    fault: Fault, ledger_server: LedgerServer
) -> None:
    server, name = ledger_server, ledger_server.emptied()

    def do(text: str) -> None:
        where = name if "busmon." in text or "SCHEMA" in text else "admin"
        if fault.anew:
            server.disconnect()
        server.sql(text.format(db=name), where)

    with closing(Ledger(database_at(server.url_of(name)))) as ledger:
        ledger.record(judged(1))
        do(fault.begin)
        try:
            for _ in range(2):
                with pytest.raises(LedgerWriteError) as raised:
                    ledger.record(judged(2))
            text = fault.text.format(db=name, port=server.port)
            assert re.fullmatch(text if "\\" in text else re.escape(text), str(raised.value))
            assert ledger.problem() == f"ledger: {raised.value}"
        finally:
            do(fault.end)
        assert len(ledger.record(judged(1, 2)).new) == 1
        assert ledger.problem() is None
        assert counted(ledger) == 2


def test_a_restarted_server_is_not_noticed(ledger_server: LedgerServer) -> None:
    with closing(Ledger(database_at(ledger_server.url_of(ledger_server.emptied())))) as ledger:
        ledger.record(judged(1))
        with ledger.read() as tables:
            assert tables.messages.count() == 1
        with ledger_server.away():
            pass
        with ledger.read() as tables:
            assert tables.messages.count() == 1
        assert len(ledger.record(judged(1, 2)).new) == 1
        assert ledger.problem() is None


def test_a_reader_does_not_wait_for_a_server_that_hangs(ledger_server: LedgerServer) -> None:
    place = database_at(ledger_server.url_of(ledger_server.emptied()))
    with closing(Ledger(place)) as ledger:
        ledger.record(judged(1))
        with ledger.read() as tables:
            assert tables.messages.count() == 1
        with ledger_server.frozen(ledger_server.backends()):
            text = r"no answer for (\d+) s; is the network cut, or does the server hang\?$"
            with (
                watching_for_stalls() as latest,
                pytest.raises(LedgerUnreachable, match=text) as raised,
                ledger.read(seconds=1) as tables,
            ):
                tables.messages.count()
            (waited,) = re.findall(text, str(raised.value))
            assert 2 <= int(waited) <= 2.5 + latest()
        with ledger.read() as tables:
            assert tables.messages.count() == 1


def test_a_locked_ledger_is_reported_after_5_seconds(ledger_server: LedgerServer) -> None:
    name = ledger_server.emptied()
    with closing(Ledger(database_at(ledger_server.url_of(name)))) as ledger:
        with ledger_server.locked("busmon.messages", name):
            text = (
                "canceling statement due to lock timeout;"
                " another busmon, or another program, keeps the ledger locked"
            )
            with pytest.raises(LedgerWriteError, match=f"^{text}$"):
                ledger.record(judged(1))
            assert ledger.problem() == f"ledger: {text}"
        assert len(ledger.record(judged(1)).new) == 1


def test_a_new_connection_that_could_not_begin_writes_the_next_time(
    ledger_server: LedgerServer,
) -> None:
    name = ledger_server.emptied()
    with closing(Ledger(database_at(ledger_server.url_of(name)))) as ledger:
        with ledger_server.writing(name):
            ledger_server.disconnect()
            with pytest.raises(LedgerWriteError, match="due to lock timeout"):
                ledger.record(judged(1))
        assert len(ledger.record(judged(1)).new) == 1


# CI runs as root and on the system's own PostgreSQL, so it skips nothing.
@pytest.mark.skipif(os.geteuid() != 0, reason="to mount a small file system takes root")
@pytest.mark.skipif(USR_OF_SERVER != USR, reason="a server with another /usr does not see it")
def test_a_full_disk_is_reported_until_there_is_room(ledger_server: LedgerServer) -> None:
    name = ledger_server.emptied()
    with (
        closing(Ledger(database_at(ledger_server.url_of(name)))) as ledger,
        directory("small") as disk,
    ):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", disk], check=True)
        try:
            shutil.chown(disk, "postgres")
            ledger_server.sql(f"CREATE TABLESPACE small LOCATION '{disk}'")
            ledger_server.sql("ALTER TABLE busmon.messages SET TABLESPACE small", name)
            batches = [judged(*range(n, n + 500)) for n in range(0, 5000, 500)]
            text = r'could not extend file "[^"]+": No space left on device; is the disk of the'
            with pytest.raises(LedgerWriteError, match=f"^{text} server full\\?$"):
                record(ledger, batches)
            assert counted(ledger) in range(500, 5000, 500)
            subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
            record(ledger, batches)
            assert counted(ledger) == 5000
            ledger_server.sql("DROP SCHEMA busmon CASCADE", name)
            ledger_server.sql("DROP TABLESPACE small")
        finally:
            subprocess.run(["umount", disk], check=True)


def record(ledger: Ledger, batches: Iterable[Sequence[Observation]]) -> None:
    for batch in batches:
        ledger.record(batch)


def test_a_ledger_that_cannot_be_opened_says_why(
    ledger_server: LedgerServer, certificates: Certificates
) -> None:
    server, name, port = ledger_server, ledger_server.emptied(), ledger_server.port
    url, other = server.url_of(name), f"other:p@127.0.0.1:{ledger_server.port}/{name}"
    verified = server.url_of(name, sslmode="verify-full")

    def assert_refused(url: str, text: str, **settings: object) -> None:
        place = database_at(url, **settings)
        with pytest.raises(LedgerError) as raised:
            Ledger(place)
        assert str(raised.value) == f"{place}: {text}"

    nothing, closed = server.url_of("nothing"), free_port()
    assert_refused(server.url_of(name, closed), f"127.0.0.1:{closed}: Connection refused")
    login = 'password authentication failed for user "busmon"; check user and password in [ledger]'
    both = url.replace("127.0.0.1:", f"127.0.0.1:{closed},127.0.0.1:").replace("p4ss", "x")
    assert_refused(both, f"127.0.0.1:{closed}: Connection refused; 127.0.0.1:{port}: {login}")
    assert_refused(nothing, f'127.0.0.1:{port}: database "nothing" does not exist; {NO_DATABASE}')
    no_host = url.replace("127.0.0.1", "-nowhere")  # no name of a host: glibc asks nobody for it
    assert_refused(no_host, "failed to resolve host '-nowhere': Name or service not known")
    no_password = url.replace(":p4ss%2Fword", "")
    assert_refused(
        no_password,
        f"127.0.0.1:{port}: no password supplied; set password in [ledger]",
    )
    assert_refused(
        verified,
        f"127.0.0.1:{port}: SSL error: certificate verify failed;"
        " ca in [ledger] must be the CA of the server's certificate",
        ca=certificates.other_ca,
    )
    with server.without_tls():
        assert_refused(
            verified,
            f"127.0.0.1:{port}: server does not support SSL, but SSL was required;"
            " if you trust the network, add ?sslmode=disable to url in [ledger]",
            ca=certificates.ca,
        )
    assert_refused(
        server.url_of(server.database("ENCODING LATIN1")),
        "its encoding is LATIN1; busmon needs a database with the encoding UTF8",
    )
    server.sql("CREATE ROLE other LOGIN PASSWORD 'p'")
    assert_refused(
        f"postgresql://{other}?sslmode=disable",
        f"permission denied for database {name};"
        " busmon's user must own the schema busmon, or be allowed to create it",
    )
    server.sql(
        f"CREATE SCHEMA busmon AUTHORIZATION {USER}; CREATE TABLE busmon.cats (name text)", name
    )
    assert_refused(url, "not a ledger of busmon")


def test_a_ledger_of_another_version_is_refused_with_what_to_do(
    ledger_server: LedgerServer,
) -> None:
    name = ledger_server.emptied()
    place = database_at(ledger_server.url_of(name))
    Ledger(place).close()
    for version, busmon, text in (
        (
            99,
            "9.0",
            f"written by busmon 9.0 (ledger version 99; busmon {__version__} knows version"
            f" {VERSION}). Start that busmon again, or restore a backup: then all that was counted"
            " since is lost",
        ),
        (
            VERSION - 1,
            "0.0",
            f"has ledger version {VERSION - 1}, and this busmon needs version {VERSION}; make a"
            " backup, and run `busmon ledger migrate`",
        ),
    ):
        ledger_server.sql(
            f"UPDATE busmon.versions SET version = {version}, busmon = '{busmon}'", name
        )
        with pytest.raises(LedgerError) as raised:
            Ledger(place)
        assert str(raised.value) == f"{place}: {text}"
        with pytest.raises(LedgerError) as raised, open_read_only(place):
            pass
        assert str(raised.value) == f"{place}: {text}"
