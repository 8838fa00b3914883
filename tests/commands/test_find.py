"""`busmon find`, and `busmon forget`, against a service that runs, and against none."""

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from busmon.commands.endpoint import CHANGE_TIMEOUT
from busmon.commands.find_service import lines
from busmon.ledger.batch import Observation, Series
from busmon.ledger.subjects import BLOCK
from busmon.settings.models import Web
from busmon.web.access import Access
from busmon.web.forget import SECONDS, forget_view
from tests.support import web_server
from tests.support.brokers import free_port
from tests.support.command import busmon
from tests.support.datagrepper import settings
from tests.support.diagnosis import Bench
from tests.support.pages import pages
from tests.support.wsgi import ask

ALICE = b64encode(b"alice:secret").decode()
COPR = Series("fedora", "org.fedoraproject.prod.copr.build.end", "ignored", "not-packit-user")
LONG = "alice" * 12
SECRET, PASSWORD = "tr0ub4dor", "c0rrect-horse"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(path=str(tmp_path / "ledger.sqlite"))


@pytest.fixture
def url(bench: Bench, tmp_path: Path) -> Iterator[str]:
    """Serve a ledger, and write the configuration of a client."""
    credentials = {"token": SECRET, "operators": {"ann": {"password": PASSWORD}}}
    web = Web.model_validate({"listen": "127.0.0.1:0", **credentials})
    keys = "owner alice", "build 12", "package hello"
    bench.ledger.record([Observation(COPR, f"id-{n}", bench.now, keys=keys) for n in range(3)])
    own = {"/v1/forget": forget_view(bench.ledger, Access(web))}
    archive = settings("https://archive.example")
    with web_server.serving(web, pages(bench, web, own=own, archive=archive)) as server:
        (tmp_path / "busmon.toml").write_text(
            f'web = {{ token = "{SECRET}", operators.ann.password = "{PASSWORD}" }}\n'
            '[buses.x]\ntype = "mqtt"\nurl = "mqtt://localhost"\nclient_id = "x"\n'
            'topics = ["#"]\nrules = "all"\n'
        )
        yield server.url


def test_messages_are_found_by_asking_the_service(url: str, tmp_path: Path) -> None:
    service = "-c", tmp_path / "busmon.toml", "--url", url
    text = busmon("find", "hello", "build:12", "--limit", "2", *service).stdout
    lines = text.splitlines()
    assert [line.split()[-1] for line in lines[0::2]] == ["id-2", "id-1", "2"]
    assert lines[0].endswith(f"UTC  fedora  {COPR.topic}  ignored not-packit-user  id-2")
    assert lines[1] == "    owner alice, build 12, package hello"
    assert lines[4] == "There can be more: --before 2"
    found = busmon("find", "hello", "--before", "2", "--json", *service).stdout
    assert [one["id"] for one in json.loads(found)["messages"]] == ["id-0"]
    assert busmon("find", "77", *service, status=1).stdout == "No message matches.\n"
    nothing, why, *_ = busmon("find", "owner:bob", *service, status=1).stdout.splitlines()
    assert nothing == "No message matches."
    assert why.endswith("because `subjects` in [ledger] does not list owner")
    nothing, archive = busmon("find", "curl", *service, status=1).stdout.splitlines()
    assert nothing == "No message matches."
    assert archive.startswith(
        "What the archive has: https://archive.example/v2/search?package=curl&"
    )


def test_a_search_that_has_not_read_all_found_nothing_so_far() -> None:
    answer = {"messages": [], "hints": [], "older": 4096, "archive": None}
    assert list(lines(answer)) == [
        "No message matches so far.",
        "There can be more: --before 4096",
    ]


def test_a_search_without_a_service_login_or_sense_says_so(url: str, tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    assert "does not answer" in busmon("find", "x", "--url", nowhere, status=1).stderr
    assert "refused (status 401)" in busmon("find", "x", "--url", url, status=1).stderr
    service = "-c", tmp_path / "busmon.toml", "--url", url
    wrong = busmon("find", "x", "--since", "soon", *service, status=2)
    assert wrong.stderr.startswith("busmon: since: should be a time in UTC")


def test_a_service_without_its_ledger_does_not_answer_a_search(
    bench: Bench, url: str, tmp_path: Path
) -> None:
    Path(bench.ledger.name).unlink()
    service = "-c", tmp_path / "busmon.toml", "--url", url
    ended = busmon("find", "x", *service, status=1).stderr
    assert ended.startswith(f"busmon: busmon does not answer at {url}: ")
    assert "no such ledger" in ended


def test_an_owner_is_forgotten_and_overwritten_in_the_file(
    bench: Bench, url: str, tmp_path: Path
) -> None:
    def in_file() -> bool:
        bench.ledger.empty_log()
        # What remains of a long text that was made shorter is its first part.
        return LONG[:40].encode() in Path(bench.ledger.name).read_bytes()

    service = "-c", tmp_path / "busmon.toml", "--url", url
    with bench.ledger.write() as tables:  # as most builds of SQLite; Debian's overwrites always
        tables.subjects._db.execute("PRAGMA secure_delete = 0")  # noqa: SLF001 - only SQL sets it
    keys = f"owner {LONG}", "build 12", "package hello"
    bench.ledger.record([Observation(COPR, "long", bench.now, keys=keys)])
    assert in_file()
    forgotten = busmon("forget", "--owner", LONG, *service)
    assert forgotten.stdout == "forgotten in 1 set of keys\n"
    assert not in_file()
    found = busmon("find", f"owner:{LONG}", *service, status=1).stdout
    assert found.startswith("No message matches.\n")
    assert "    build 12, package hello\n" in busmon("find", "build:12", *service).stdout
    assert busmon("forget", "--owner", LONG, *service).stdout.startswith("forgotten in 0")
    refused = busmon("forget", "--owner", "two words", *service, status=1).stderr
    assert refused.endswith("it answers with status 400: malformed: no owner\n")
    wrong = busmon(
        *("forget", "--owner", "alice", "--url", url, "--operator", "ann"),
        env={"BUSMON_PASSWORD": "wrong"},
        status=1,
    )
    assert "knows no operator with this name and password" in wrong.stderr


def test_one_request_to_forget_ends_in_time_and_the_next_one_goes_on(bench: Bench) -> None:
    assert SECONDS < CHANGE_TIMEOUT / 2, "the client still waits for the answer"
    web = Web.model_validate({"operators": {"alice": {"password": "secret"}}})
    of_bob = [Observation(COPR, f"id-{n}", bench.now, keys=("owner bob",)) for n in range(3)]
    between = [Observation(COPR, f"id-{n}", bench.now) for n in range(3, BLOCK)]
    late = [Observation(COPR, "late", bench.now, keys=("owner bob",))]
    for batch in (of_bob, between, late):
        bench.ledger.record(batch)
    own = {"/v1/forget": forget_view(bench.ledger, Access(web), seconds=0.0)}
    app, body = pages(bench, web, own=own), json.dumps({"owner": "bob"}).encode()
    login = {"HTTP_AUTHORIZATION": f"Basic {ALICE}", "CONTENT_TYPE": "application/json"}
    answers = [
        json.loads(
            ask(app, "/v1/forget", "POST", "", body, CONTENT_LENGTH=str(len(body)), **login).body
        )
        for _ in range(3)
    ]
    assert answers == [
        {"sets": 1, "finished": False},
        {"sets": 1, "finished": True},
        {"sets": 0, "finished": True},
    ]
