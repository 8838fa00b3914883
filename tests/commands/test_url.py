"""`--url`: a running service answers, with what the file of its ledger would."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from busmon.audit.acceptor import Acceptor
from busmon.commands.gaps import TooMany
from busmon.commands.questions import Gaps, Incidents
from busmon.config.load import load
from busmon.ledger.acceptances import Selection
from busmon.ledger.engines import open_read_only
from busmon.ledger.incidents import Incident
from tests.support import web_server
from tests.support.brokers import free_port
from tests.support.busmon_process import PROJECT
from tests.support.command import busmon
from tests.support.diagnosis import Bench
from tests.support.pages import pages
from tests.support.past import BUS, IDS, TOPIC, Past

SECRET = "tr0ub4dor"
EVIL = "a \x1b[2K\N{SNOWMAN}"
CONFIG = f"""
web = {{ listen = "127.0.0.1:0", token = "{SECRET}" }}
[buses.{BUS}]
type = "amqp"
config = "{PROJECT}/config/fedora.toml"
rules = "all"
"""
COMMANDS = [  # with their exit status
    (("gaps", "--unconfirmed", "--all", "--since", "7d", "--bus", BUS, "--topic", TOPIC), 1),
    (("gaps", "--format", "json", "--all"), 1),
    (("gaps", "--bus", "another & none"), 2),
    (("gaps", "accepted"), 0),
    (("incidents", "--format", "markdown"), 0),
    (("incidents", "--bus", EVIL), 2),
    (("trace", f"task-of-{IDS[2]}", "--json"), 0),
    (("trace", EVIL), 1),
]


@pytest.fixture
def config(past: Past) -> Path:
    """Write a ledger with a past, and the configuration of its service."""
    past.watch(-100, 100)
    for number in range(4):
        past.receive(IDS[number], after=1 + 4 * number)
    past.report(IDS[2])
    past.close(40)
    at = past.start
    outage = Incident(BUS, "listener", at + 10, at + 70, at + 72, 20.0, (EVIL,), ("*it* is down",))
    with past.ledger.write() as tables:
        tables.incidents.save([outage])
    Acceptor(past.ledger, lambda: None, wait=0).accept(
        Selection(at, at + 4), "ann", "nobody *cares*"
    )
    past.ledger.close()
    path = Path(past.path).with_name("busmon.toml")
    path.write_text(f'{CONFIG}\n[ledger]\npath = "{past.path}"\n')
    return path


@pytest.fixture
def url(config: Path) -> Iterator[str]:
    """Serve this ledger."""
    settings = load(config, {})
    bench = Bench(path=settings.ledger.path)
    app = pages(bench, settings.web, buses=settings.buses)
    with web_server.serving(settings.web, app) as server:
        yield server.url
    bench.ledger.close()


def _lines(text: str) -> list[str]:
    """Return the lines without those that say when it was asked."""
    return [line for line in text.splitlines() if "since" not in line and " to 20" not in line]


def test_the_service_answers_what_the_file_of_its_ledger_would(config: Path, url: str) -> None:
    for words, status in COMMANDS:
        from_file = busmon(*words, "-c", config, status=status)
        asked = busmon(*words, "-c", config, "--url", url, status=status)
        assert _lines(asked.stdout) == _lines(from_file.stdout), words
        assert asked.stderr == from_file.stderr, words


def test_without_a_configuration_the_environment_has_the_credentials(url: str) -> None:
    asked = busmon("gaps", "--url", url, env={"BUSMON__WEB__TOKEN": SECRET}, status=1)
    assert "still missing" in asked.stdout


def test_what_the_service_cannot_answer_is_said(config: Path, url: str) -> None:
    def refused(*words: str | Path) -> str:
        return busmon(*words, status=2).stderr

    nowhere = f"http://127.0.0.1:{free_port()}"
    assert f"busmon does not answer at {nowhere}" in refused("gaps", "--url", nowhere)
    assert "refused (status 401): -c must name" in refused("incidents", "--url", url)
    password = {"BUSMON__WEB__PASSWORD": "x"}
    alone = busmon("gaps", "--url", url, env=password, status=2).stderr
    assert alone.startswith("busmon: no credentials as $BUSMON__WEB__TOKEN, or $BUSMON__WEB__USER")
    service = "-c", config, "--url", url
    assert "give either --ledger or --url" in refused("gaps", "--ledger", "x", *service)
    assert refused("trace", "x" * 301, *service) == (
        "busmon: Expected `str` of length <= 300 - at `$.id`\n"
    )
    assert refused("gaps", "--bus", "", *service) == "busmon: bus: should not be empty\n"
    assert "answered with status 404" in refused("gaps", "-c", config, "--url", f"{url}/other")


def test_the_service_lists_a_limited_number_of_everything(config: Path) -> None:
    with open_read_only(load(config, {}).ledger.path) as tables:
        assert Gaps().answer(tables, None, 0, most=3).status == 1
        with pytest.raises(TooMany, match="more than 2 messages: ask for less of them"):
            Gaps().answer(tables, None, 0, most=2)
        with pytest.raises(TooMany, match="more than 0 incidents: ask for less of them"):
            Incidents(0.0).answer(tables, None, 0, most=0)
