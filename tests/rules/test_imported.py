"""A listener's own code reads the environment: busmon's settings are what it finds there."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from busmon.rules import Rules, rule_set
from busmon.rules.packit import PackitRules
from tests.config import problems
from tests.rules import judge
from tests.support.brokers import wait_until
from tests.support.busmon_process import Busmon
from tests.support.command import busmon

OWN = "tests.support.listener:get_callback"
HANDLED, IGNORED = "handled", "ignored not-passed"


@pytest.mark.parametrize(
    ("listener", "without_specfile"),
    [
        (PackitRules(), IGNORED),
        (PackitRules(project="packit-service"), IGNORED),
        (PackitRules(project="stream"), HANDLED),
        (PackitRules(project=""), HANDLED),
        (PackitRules(user="packit-stg"), IGNORED),
        (PackitRules(user="alice", project="stream"), HANDLED),
    ],
)
def test_callbacks_find_the_settings_in_their_environment(
    listener: PackitRules, without_specfile: str
) -> None:
    rules = rule_set(OWN, Rules(packit=listener))
    assert judge(rules, "pushes", {"specfile": False}) == without_specfile
    assert judge(rules, "pushes", {"specfile": True}) == HANDLED


def test_other_rule_sets_leave_the_environment_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJECT", "another")
    for name in ("packit", "centos", "all"):
        rule_set(name, Rules())
    assert (os.environ["PROJECT"], "DEPLOYMENT" in os.environ) == ("another", False)


BUS = f'[buses.old]\ntype = "replay"\nrules = "{OWN}"\nfiles = ["exists"]\n'


@pytest.mark.parametrize(
    ("environment", "settings", "problem"),
    [
        ({}, 'project = "stream"', None),
        ({"PROJECT": "stream", "DEPLOYMENT": "prod"}, 'project = "stream"', None),
        ({"DEPLOYMENT": "anything"}, 'user = "alice"', None),
        ({"PROJECT": "stream"}, "", "PROJECT is 'stream' in the environment, but 'packit'"),
        ({"PROJECT": ""}, "", "PROJECT is '' in the environment, but 'packit'"),
        (
            {"PROJECT": "stream", "DEPLOYMENT": "stg"},
            "",
            "PROJECT is 'stream' in the environment, but 'packit';"
            " DEPLOYMENT is 'stg' in the environment, but 'prod'",
        ),
        (
            {"DEPLOYMENT": "stg"},
            'user = "packit"',
            "DEPLOYMENT is 'stg' in the environment, but 'prod'",
        ),
    ],
)
def test_an_environment_that_contradicts_the_settings_is_an_error(
    environment: dict[str, str],
    settings: str,
    problem: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    expected = [f"buses.old.rules: {problem} by the settings of the rules"] if problem else []
    (tmp_path / "exists").touch()
    text = f"[rules.packit]\n{settings}\n{BUS}"
    assert problems(tmp_path, text + "rate = 0\n") == [
        *expected, "buses.old.rate: should be greater than 0"
    ]  # fmt: skip


def test_explain_gives_the_project_to_the_callbacks(tmp_path: Path) -> None:
    recorded = pushes(tmp_path)
    words = ("explain", "--rules", OWN, recorded)
    assert outcomes(busmon(*words).stdout) == ["handled", "ignored"]
    ended = busmon(*words, "--project", "stream", env={"PROJECT": "packit"}, status=2)
    assert "PROJECT is 'packit' in the environment, but 'stream'" in " ".join(ended.stderr.split())


def test_explain_passes_every_push_for_another_project(tmp_path: Path) -> None:
    words = ("explain", "--rules", OWN, pushes(tmp_path), "--project", "stream")
    assert outcomes(busmon(*words).stdout) == ["handled", "handled"]


def test_replay_and_the_service_give_the_project_to_the_callbacks(tmp_path: Path) -> None:
    recorded = pushes(tmp_path)
    bus = {"type": "replay", "rules": OWN, "files": [str(recorded)]}
    service = Busmon(tmp_path, {"one": bus, "two": bus})
    service.configure('[rules.packit]\nproject = "stream"')
    with service:
        wait_until(lambda: service.counts().total() == 4, what="the messages")
        assert service.counts() == Counter(
            {("one", "pushes", "handled", ""): 2, ("two", "pushes", "handled", ""): 2}
        )
    (tmp_path / "fedora.toml").write_text("")
    amqp = '[rules.packit]\nproject = "stream"\n[buses.fedora]\ntype = "amqp"\n'
    path = tmp_path / "replay.toml"
    path.write_text(f'{amqp}rules = "{OWN}"\nconfig = "fedora.toml"\nrouting_keys = ["#"]\n')
    counted = json.loads(busmon("replay", "-c", path, "--format", "json", recorded).stdout)
    assert [(row["outcome"], row["messages"]) for row in counted] == [("handled", 2)]


def pushes(directory: Path) -> Path:
    """A file with a push that changes a spec file, and one that does not."""
    path = directory / "pushes.jsonl"
    records = (
        {"topic": "pushes", "id": str(changed), "body": {"specfile": changed}}
        for changed in (True, False)
    )
    path.write_text("\n".join(map(json.dumps, records)))
    return path


def outcomes(text: str) -> list[str]:
    return [line.split()[2] for line in text.splitlines()]
