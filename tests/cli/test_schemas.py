"""What the schema packages that are installed change, and how busmon shows them."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.busmon_process import Busmon
from tests.support.command import busmon, busmon_process, without
from tests.support.exposition import counter

COPR = "org.fedoraproject.prod.copr.build.end"
BROKEN = {  # Packit's listener never sees it: Copr's schema wants more than the user
    "topic": COPR,
    "id": "9a7b3c1e-0000-4000-8000-000000000001",
    "headers": {"fedora_messaging_schema": "copr.build.end"},
    "body": {"user": "packit"},
}
INSTALLED = f"fedora-messaging {version('fedora-messaging')}"


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "broken.jsonl"
    path.write_text(json.dumps(BROKEN))
    return path


def explained(text: str) -> tuple[str, str]:
    row = json.loads(text)
    return row["outcome"], row["reason"]


def test_a_message_that_breaks_a_schema_of_copr_is_invalid(
    recorded: Path, configuration: Path
) -> None:
    assert explained(busmon("explain", "--json", recorded).stdout) == ("invalid", "schema")
    counts = busmon("replay", "--format", "prometheus", recorded).stdout
    assert counter(counts, "busmon_unknown_schema_total", ("bus",)).total() == 0
    output = busmon("check-config", "-c", configuration).stdout
    assert f"  schemas     copr-messaging {version('copr-messaging')}, {INSTALLED}\n" in output


def test_without_its_package_a_schema_is_unknown_and_busmon_says_so(
    recorded: Path, configuration: Path, tmp_path: Path
) -> None:
    without_copr = without("copr_messaging", tmp_path)

    def run(*words: str | Path) -> str:
        return busmon_process(*words, **without_copr).stdout

    assert explained(run("explain", "--json", recorded)) == ("handled", "")
    counts = run("replay", "--format", "prometheus", recorded)
    assert counter(counts, "busmon_unknown_schema_total", ("bus",)) == {("fedora",): 1}
    output = run("check-config", "-c", configuration)
    missing = "not copr-messaging, which the listener has"
    assert f"  schemas     {INSTALLED}; {missing}\n" in output


def test_the_service_says_at_its_start_which_package_is_missing(
    recorded: Path, tmp_path: Path
) -> None:
    buses = {
        name: {"type": "replay", "rules": rules, "files": [str(recorded)]}
        for name, rules in {"fedora": "packit", "other": "all"}.items()
    }
    service = Busmon(tmp_path, buses)
    program = without("copr_messaging", tmp_path)
    service.argv = [*map(str, program["program"]), "run", "-c", str(service.configuration)]
    service.put_into_environment(**program["env"])
    with service:
        service.wait_until_ready()
        assert service.logged("fedora: not installed, but the listener has it: copr-messaging. ")
        assert not service.logged("other: not installed")
