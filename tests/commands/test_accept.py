"""`busmon gaps accept`, `reopen` and `accepted`, against a service that runs, or does not."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from busmon.ledger.ledger import Ledger
from busmon.ledger.open_messages import State
from busmon.message import Stage
from busmon.settings.models import Web
from tests.support import http_server
from tests.support.brokers import free_port
from tests.support.busmon_process import Busmon
from tests.support.command import busmon
from tests.support.http_server import Silent
from tests.support.open_gaps import FIRST, Place, leave_open, serving, still_open

WORKER = Place(1, stage=Stage.WORKER)
OPERATORS = '[web.operators.alice]\npassword = "of-alice"\n'
BOB = '[web.operators.bob]\npassword = "of-bob"\n'
WINDOW = ("--window", "2026-03-01 14:05:00 UTC")
BOTH = ("--since", "2026-03-01 14:05:00", "--until", "2026-03-01 14:15:00")
WHY = ("--reason", "purged")
ACCEPT = ("gaps", "accept", *WHY)


class Bench:
    """A service on a socket, its ledger with three open gaps, and its configuration."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.listen = f"127.0.0.1:{free_port()}"
        self.ledger = Ledger(str(directory / "ledger.sqlite"))
        leave_open(self.ledger, Place(), 3)
        leave_open(self.ledger, WORKER, 2)
        leave_open(self.ledger, WORKER._replace(state=State.UNCONFIRMED, topic="b"))

    def configuration(self, more: str = OPERATORS) -> Path:
        path = self.directory / "busmon.toml"
        (self.directory / "none.jsonl").touch()
        path.write_text(
            f'[web]\nlisten = "{self.listen}"\ntoken = "reads"\n{more}'
            '[ledger]\npath = "ledger.sqlite"\n'
            '[buses.fedora]\ntype = "replay"\nrules = "all"\nfiles = ["none.jsonl"]\n'
        )
        return path

    def acceptances(self) -> int:
        with self.ledger.read() as tables:
            return len(tables.acceptances.all())


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    with closing(bench.ledger):
        yield bench


@pytest.fixture
def service(bench: Bench) -> Iterator[str]:
    operators = {name: {"password": f"of-{name}"} for name in ("alice", "bob")}
    web = Web.model_validate({"listen": bench.listen, "token": "reads", "operators": operators})
    with serving(web, bench.ledger) as url:
        yield url


def test_gaps_are_accepted_listed_and_reopened(bench: Bench, service: str) -> None:
    config = ("-c", bench.configuration())
    before = still_open(bench.ledger)
    assert busmon(*ACCEPT, *WINDOW, *config).stdout == (
        "acceptance 1: 3 messages of 1 window accepted\n"
    )
    assert set(still_open(bench.ledger)) == set(before) - {Place()}
    assert busmon(*ACCEPT, *BOTH, *config).stdout == (
        "acceptance 2: 2 messages and 1 unconfirmed message of 1 window accepted\n"
    )
    assert not still_open(bench.ledger)
    reopened = busmon("gaps", "reopen", "2", *config, "--url", service).stdout
    assert reopened == (
        "acceptance 2: 2 messages and 1 unconfirmed message of 1 window open again\n"
    )
    assert set(still_open(bench.ledger)) == set(before) - {Place()}
    *_, second, chosen, reason = busmon("gaps", "accepted", *config).stdout.splitlines()
    assert second.startswith("1  20")
    assert second.endswith("  alice  3 messages of 1 window")
    assert [chosen, reason] == ["    the window from 2026-03-01 14:05:00 UTC", "    purged"]
    newest, oldest = json.loads(busmon("gaps", "accepted", "--json", *config).stdout)
    assert (newest["number"], newest["reverted_by"]) == (2, "alice")
    assert oldest["selection"]["since"] == FIRST


def test_a_selection_without_an_open_gap_exits_with_1(bench: Bench, service: str) -> None:
    for place in (("--bus", "x"), ("--topic", "x"), ("--stage", "worker")):
        ended = busmon(*ACCEPT, *WINDOW, *place, "-c", bench.configuration(), status=1)
        assert ended.stderr == "busmon: no open gap matches; nothing is accepted\n"
    ended = busmon("gaps", "reopen", "3", "-c", bench.configuration(), status=1)
    assert ended.stderr == (
        f"busmon: busmon at {service} refuses: it answers with status 409:"
        " there is no acceptance 3\n"
    )
    assert bench.acceptances() == 0


def test_without_the_service_nothing_is_written_and_that_is_said(bench: Bench) -> None:
    before = still_open(bench.ledger)
    for command in ((*ACCEPT, *WINDOW), ("gaps", "reopen", "1")):
        ended = busmon(*command, "-c", bench.configuration(), status=1)
        assert ended.stderr == (
            f"busmon: busmon does not answer at http://{bench.listen}: Connection refused;"
            " nothing is changed\n"
        )
    assert (still_open(bench.ledger), bench.acceptances()) == (before, 0)


@pytest.mark.parametrize(
    ("operators", "words", "password", "status", "text"),
    [
        (OPERATORS, [], None, 0, "acceptance 1"),
        (OPERATORS + BOB, ["--operator", "bob"], None, 0, "acceptance 1"),
        (OPERATORS + BOB, [], None, 2, "several operators, so give --operator: alice, bob"),
        ("", [], None, 2, "no operator is known: configure a login in [web.operators.NAME]"),
        ("", ["--operator", "bob"], "of-bob", 0, "acceptance 1"),
        ("", ["--operator", "bob"], None, 2, "of bob is not configured, so set $BUSMON_PASSWORD"),
        (OPERATORS, ["--operator", "bob"], "wrong", 1, "knows no operator with this name and"),
        (OPERATORS.replace("of-a", "A"), [], None, 1, "knows no operator with this name and"),
    ],
)
def test_the_login_is_that_of_an_operator(
    operators: str,
    words: list[str],
    password: str | None,
    status: int,
    text: str,
    bench: Bench,
    service: str,
) -> None:
    env = {"BUSMON_PASSWORD": password} if password else {}
    config = ("-c", bench.configuration(operators), "--url", service)
    ended = busmon(*ACCEPT, *WINDOW, *config, *words, env=env, status=status)
    assert text in ended.stdout + ended.stderr
    assert bench.acceptances() == (status == 0)


@contextmanager
def answering(body: bytes | None) -> Iterator[str]:
    """Serve this answer to each request; None: end the connection without one."""

    class Handler(Silent, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if body is not None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

    with http_server.serving(Handler) as url:
        yield url


NO_BUSMON = "the answer is not that of a busmon"
SEE = "see `busmon gaps accepted` for what it did"


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (
            b'{"number": 4, "messages": 2, "windows": 1, "forgotten": 3}',
            0,
            "acceptance 4: 2 messages of 1 window open again; 3 more are no longer on record\n",
        ),
        (
            b'{"number": 4, "finished": false}',
            0,
            "acceptance 4: it takes longer, and goes on; `busmon gaps accepted` shows the result\n",
        ),
        (b"<html>", 1, f": {NO_BUSMON}; {SEE}\n"),
        (b"\xff", 1, f": {NO_BUSMON}; {SEE}\n"),
        (b"[" * 9999, 1, f": {NO_BUSMON}; {SEE}\n"),
        (b'{"messages": 2}', 1, f": {NO_BUSMON}; {SEE}\n"),
        (b'{"number": "\\u001b[2K"}', 1, f": {NO_BUSMON}; {SEE}\n"),
        (None, 1, f": Remote end closed connection without response; {SEE}\n"),
    ],
)
def test_the_answer_of_a_service_is_read_with_care(
    bench: Bench, body: bytes | None, status: int, text: str
) -> None:
    with answering(body) as url:
        config = ("-c", bench.configuration(), "--url", url)
        ended = busmon("gaps", "reopen", "4", *config, status=status)
    assert (ended.stdout + ended.stderr).endswith(text)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--window", "24h"], "should be the time at which a window began"),
        (["--window", "yesterday"], 'prints it: "2026-03-01 14:05:00"'),
        (["--since", "14:05"], 'should be a time in UTC, "2026-03-01 14:05:00", or how long ago'),
        (["--since", "1960-01-01"], "should be a time in UTC"),
        (["--since", "9999999999w"], "should be a time in UTC"),
        (["--since", "0001-01-01 00:00:00+23:00"], "should be a time in UTC"),
        ([], "give either --window, or --since and maybe --until"),
        (["--until", "1h"], "give either --window, or --since and maybe --until"),
        ([*WINDOW, *BOTH], "give either --window, or --since and maybe --until"),
        ([*WINDOW, "--until", "1h"], "give either --window, or --since and maybe --until"),
        (["--since", "1h", "--until", "2h"], "--since should be before --until"),
        ([*WINDOW, "--stage", "bus"], "'bus' is not"),
        ([*WINDOW, "--url", "http://a@b"], "should be http://HOST:PORT"),
        ([*WINDOW, "--url", "http://localhost:1"], "no operator is known"),
    ],
)
def test_a_wrong_command_line_accepts_nothing(words: list[str], error: str) -> None:
    assert error in " ".join(busmon(*ACCEPT, *words, status=2).stderr.split())


def test_options_of_the_list_go_after_the_command() -> None:
    ended = busmon("gaps", "--bus", "fedora", *ACCEPT[1:], *WINDOW, status=2)
    assert "give the options after `accept`" in ended.stderr


def gap(busmon: Busmon) -> list[str]:
    """Return the samples of open gaps above 0."""
    _, lines = busmon.ask("/metrics?name[]=busmon_open_gap_messages")
    return [line for line in lines if line[0] != "#" and not line.endswith(" 0.0")]


def test_a_running_service_accepts_at_once_and_remembers_it(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").touch()
    files = [str(tmp_path / "none.jsonl")]
    service = Busmon(tmp_path, {"fedora": {"type": "replay", "rules": "all", "files": files}})
    service.configure(OPERATORS)
    with closing(Ledger(str(tmp_path / "ledger.sqlite"))) as ledger:
        leave_open(ledger, Place(), 5)
    with service:
        assert gap(service) == [
            'busmon_open_gap_messages{bus="fedora",stage="listener",topic="a"} 5.0'
        ]
        listed = busmon("gaps", "-c", service.configuration, status=1).stdout
        start = listed.split(" to ")[0]
        done = busmon(*ACCEPT, "--window", start, "-c", service.configuration).stdout
        assert done == "acceptance 1: 5 messages of 1 window accepted\n"
        assert gap(service) == []
        assert "5 messages accepted" in busmon("gaps", "-c", service.configuration).stdout
        assert service.logged(
            "gaps accepted by alice: acceptance 1, the window from 2026-03-01 14:05:00 UTC;"
        )
        service.kill()
        service.start()
        assert gap(service) == []
        busmon("gaps", "reopen", "1", "-c", service.configuration)
        assert len(gap(service)) == 1
