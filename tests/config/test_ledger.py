"""`[ledger]`: a file, or a database of PostgreSQL."""

import sys
from pathlib import Path

import pytest

from busmon.config.describe import describe
from busmon.settings.postgresql import Database, system_ca
from tests.config import MQTT, NO_HOST, SECRET, problems, read
from tests.support.brokers.certificates import Certificates

SHAPE = (
    "should be postgresql://USER:PASSWORD@HOST[:PORT]/DATABASE, with special characters in their"
    " form %XX"
)
PARAMETERS = (
    "may have the parameters channel_binding, host, require_auth, sslmode, target_session_attrs,"
    " each once"
)


def database(directory: Path, url: str, *lines: str, **environ: str) -> Database:
    text = "\n".join([f"[ledger]\nurl = '{url}'", *lines, MQTT])
    found = read(directory, text, **environ).ledger.place()
    assert isinstance(found, Database)
    return found


def test_without_a_url_the_ledger_is_a_file(directory: Path) -> None:
    assert read(directory, MQTT).ledger.place() == "/var/lib/busmon/ledger.sqlite"


# In the order of what is shown, and what libpq gets beside it.
URLS: dict[str, tuple[str, dict[str, str]]] = {
    f"postgresql://busmon:{SECRET}@db.example/busmon": (
        "postgresql://db.example:5432/busmon, TLS, user busmon, password",
        {"password": SECRET, "sslmode": "verify-full", "sslrootcert": system_ca()},
    ),
    "postgres://b%40d:p%3A%2F%40@[::1]:5433/b?sslmode=disable&channel_binding=require": (
        "postgresql://[::1]:5433/b, no TLS, user b@d, password",
        {"host": "::1", "password": "p:/@", "channel_binding": "require"},
    ),
    "postgresql://b@a:1,c/b?sslmode=require": (
        "postgresql://a:1,c:5432/b, TLS that is not verified, user b, no password",
        {"host": "a,c", "port": "1,5432", "target_session_attrs": "read-write"},
    ),
    "postgresql://b@a,c/b?target_session_attrs=any&sslmode=verify-ca": (
        "postgresql://a:5432,c:5432/b, TLS for any host name, user b, no password",
        {"target_session_attrs": "any", "sslrootcert": system_ca()},
    ),
    "postgresql://b@%2Frun%2F..%2Fpg/b?sslmode=disable": (
        "postgresql://%2Frun%2F..%2Fpg:5432/b, no TLS, user b, no password",
        {"host": "/run/../pg"},
    ),
    "postgresql://b@/b?host=/run/postgresql": (
        "postgresql://%2Frun%2Fpostgresql:5432/b, no TLS, user b, no password",
        {"host": "/run/postgresql"},
    ),
}


@pytest.mark.parametrize(("url", "shown", "parameters"), [(u, *e) for u, e in URLS.items()])
def test_a_url_says_where_the_database_is_and_how_to_trust_it(
    directory: Path, url: str, shown: str, parameters: dict[str, str]
) -> None:
    found = database(directory, url)
    assert parameters.items() <= found.parameters.items()
    assert f"ledger\n  database    {shown}\n" in describe(read(directory, _with(url)))
    assert SECRET not in f"{found}{found!r}"


def _with(url: str) -> str:
    return f"[ledger]\nurl = '{url}'\n{MQTT}"


# A password with a special character moves the borders of the other parts.
WRONG_URLS = {
    "busmon": SHAPE,
    "https://busmon@db/busmon": SHAPE,
    "postgresql://db/busmon": SHAPE,
    "postgresql://busmon@db": SHAPE,
    "postgresql://busmon@db/": SHAPE,
    "postgresql://busmon@db:port/busmon": SHAPE,
    "postgresql://busmon@db/busmon#x": SHAPE,
    f"postgresql://busmon:{SECRET}/x@db/busmon": SHAPE,
    f"postgresql://busmon:12/{SECRET}@db/busmon": SHAPE,
    f"postgresql://busmon:{SECRET}?x@db/busmon": SHAPE,
    f"postgresql://busmon:12/x?{SECRET}=1@db/busmon": SHAPE,
    f"postgresql://busmon:{SECRET}@x@db/busmon": SHAPE,
    f"postgresql://busmon:{SECRET}%x@db/busmon": SHAPE,
    f"postgresql://busmon:{SECRET} x@db/busmon": SHAPE,
    f"postgresql://busmon:{SECRET}%00@db/busmon": "should not contain a null character",
    "postgresql://busmon@db:65536/busmon": "its port should be between 1 and 65535",
    "postgresql://busmon@a,b..c/busmon": NO_HOST,
    "postgresql://busmon@/busmon": "should have a host, or the parameter host with a socket's"
    " directory",
    "postgresql://busmon@db/busmon?host=/run": "should have a host, or the parameter host with a"
    " socket's directory",
    "postgresql://busmon@/busmon?host=run": "its parameter host should be an absolute path",
    "postgresql://busmon@db/busmon?options=-cfsync%3Doff": PARAMETERS,
    "postgresql://busmon@db/busmon?sslmode=require&sslmode=disable": PARAMETERS,
    "postgresql://busmon@db/busmon?sslmode=prefer": "its sslmode should be verify-full, verify-ca,"
    " require or disable",
}


@pytest.mark.parametrize(("url", "problem"), WRONG_URLS.items())
def test_a_problem_of_a_url_repeats_nothing_of_it(directory: Path, url: str, problem: str) -> None:
    assert problems(directory, _with(url)) == [f"ledger.url: {problem}"]


def test_url_password_and_certificates_come_from_files_and_variables(
    directory: Path, certificates: Certificates
) -> None:
    (directory / "url").write_text("postgresql://busmon@db/busmon\n")
    certificate, key = certificates.client("busmon")
    files = f"[ledger]\nca = '{certificates.ca}'\ncertificate = '{certificate}'\nkey = '{key}'\n"
    variables = {"BUSMON__LEDGER__URL_FILE": "url", "BUSMON__LEDGER__PASSWORD": SECRET}
    found = read(directory, files + MQTT, **variables).ledger.place()
    assert isinstance(found, Database)
    assert dict(found.parameters) == {
        **{"user": "busmon", "password": SECRET, "host": "db", "port": "5432"},
        **{"dbname": "busmon", "sslmode": "verify-full", "sslrootcert": str(certificates.ca)},
        **{"sslcert": str(certificate), "sslkey": str(key)},
    }
    shown = "postgresql://db:5432/busmon, TLS with client certificate, user busmon, password"
    assert found.describe() == ("database", shown)
    assert problems(directory, "[ledger]\npath = 'a'\n" + MQTT, **variables) == [
        "ledger.path: should not be given together with url"
    ]


def test_a_database_needs_psycopg(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)  # as if it were not installed
    with_url = _with("postgresql://busmon@db/busmon")
    assert problems(directory, with_url) == [
        'ledger.url: needs psycopg: install busmon with its extra "postgresql"'
    ]
