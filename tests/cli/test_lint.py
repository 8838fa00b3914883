"""`busmon lint` as users run it."""

import json
from pathlib import Path

import pytest

from busmon.commands.lint import TOPICS
from tests.support.busmon_process import PROJECT
from tests.support.command import busmon
from tests.support.topic_lists import EVENTS, PREFIX, fedora_toml, listener_source, worker_source

CLOSED = PREFIX + "pagure.pull-request.closed"


def test_lists_that_agree_give_status_0(tmp_path: Path) -> None:
    ended = busmon(
        "lint", "--fedora-toml", fedora_toml(tmp_path, TOPICS),
        "--listener-source", listener_source(tmp_path, TOPICS),
        "--worker-source", worker_source(tmp_path, EVENTS),
    )  # fmt: skip
    number = len(TOPICS)
    assert ended.stdout == (
        f"no differences: busmon's rules ({number} topics), {tmp_path}/fedora.toml ({number}"
        f" routing keys), listener's code ({number} topics), worker's code ({number} topics)\n"
    )


def test_each_difference_is_a_line_and_status_1(tmp_path: Path) -> None:
    bound = [topic for topic in TOPICS if topic != CLOSED]
    words: list[str | Path] = [
        "lint", "--fedora-toml", fedora_toml(tmp_path, [*bound, "a.b"]),
        "--worker-source", worker_source(tmp_path, [e for e in EVENTS if PREFIX + e != CLOSED]),
    ]  # fmt: skip
    lines = busmon(*words, status=1).stdout.splitlines()
    assert [line.split()[:2] for line in lines[:-1]] == [
        ["bound-not-mapped", "a.b"],
        ["mapped-not-bound", CLOSED],
        ["passed-not-parsed", CLOSED],
    ]
    assert lines[-1].startswith("3 differences: ")
    assert "listener's code (not given)" in lines[-1]
    answer = json.loads(busmon(*words, "--json", status=1).stdout)
    assert [[difference["kind"], difference["topic"]] for difference in answer["differences"]] == [
        line.split()[:2] for line in lines[:-1]
    ]


def test_the_bindings_are_those_of_the_configurations_bus(tmp_path: Path) -> None:
    path = tmp_path / "busmon.toml"
    (tmp_path / "fedora.toml").write_text(
        'amqp_url = "amqp://"\n[[bindings]]\nexchange = "amq.topic"\nrouting_keys = ["#"]\n'
    )
    bus = '[buses.fedora]\ntype = "amqp"\nconfig = "fedora.toml"\n'
    path.write_text(bus + 'rules = "packit"\n')
    busmon("lint", "-c", path)
    (tmp_path / "fedora.toml").write_text("[[bindings]]\nexchange = 'a'\nrouting_keys = []\n")
    keys = f'routing_keys = ["{TOPICS[0]}", "a.b"]\nextra_routing_keys = ["{TOPICS[1]}"]\n'
    path.write_text(bus + f'rules = "packit"\n{keys}')
    lines = busmon("lint", "-c", path, status=1).stdout.splitlines()
    kinds = {line.split()[1]: line.split()[0] for line in lines[:-1]}
    assert len(kinds) == len(TOPICS)
    assert {topic for topic, kind in kinds.items() if kind == "watched-not-bound"} == {*TOPICS[:2]}
    other = bus.replace("fedora]", "other]") + f'rules = "packit"\nrouting_keys = ["{TOPICS[2]}"]\n'
    path.write_text(bus + f'rules = "packit"\n{keys}{other}')
    output = busmon("lint", "-c", path, status=1).stdout
    assert output.count("watched-not-bound") == 3, "both buses name the same file"
    path.write_text(bus + 'rules = "all"\n')
    assert "give --fedora-toml FILE" in busmon("lint", "-c", path, status=2).stderr


def test_packits_bindings_differ_only_in_what_the_documents_accept(tmp_path: Path) -> None:
    """The ten topics that are not bound on purpose, and the one without a parser."""
    unbound = ("pagure.pull-request.flag.", "pagure.pull-request.closed", "forgejo.")
    topics = [topic for topic in TOPICS if not topic.removeprefix(PREFIX).startswith(unbound)]
    assert (len(TOPICS), len(topics)) == (25, 15)
    fedora_toml(tmp_path, topics)
    text = (PROJECT / "config/README.md").read_text()
    accept = text.partition("```toml\n[lint]\n")[2].partition("```")[0]
    path = tmp_path / "busmon.toml"
    path.write_text(f"""
        [web]
        certificate = "nowhere.pem"
        token_file = "nowhere"
        [buses.fedora]
        type = "amqp"
        rules = "packit"
        config = "fedora.toml"
        [lint]
        {accept}
    """)
    words: list[str | Path] = [
        "lint", "-c", path,
        "--worker-source", worker_source(tmp_path, [e for e in EVENTS if PREFIX + e != CLOSED]),
    ]  # fmt: skip
    assert busmon("lint", "-c", path).stdout.startswith("no differences, 10 accepted: ")
    ended = busmon(*words)
    assert ended.stdout.startswith("no differences, 11 accepted: busmon's rules (25 topics), ")
    needless = "passed-not-parsed:org.example"
    ended = busmon(*words, "--accept", needless)
    assert ended.stdout.startswith(
        f"accepted without need: {needless}\nno differences, 11 accepted: "
    )
    answer = json.loads(busmon(*words, "--accept", needless, "--json").stdout)
    assert [len(answer[key]) for key in ("differences", "accepted", "unneeded")] == [0, 11, 1]
    busmon("check-config", "-c", path, status=2)  # which needs the certificate


def test_accept_names_a_kind_and_a_topic(tmp_path: Path) -> None:
    ended = busmon("lint", "--accept", "mapped:a", status=2)
    why = "'mapped:a' should be KIND:TOPIC, where KIND is bound-not-mapped, mapped-not-bound, "
    assert why in " ".join(ended.stderr.split())
    path = tmp_path / "busmon.toml"
    path.write_text(
        '[lint]\naccept = ["listener-only:"]\n'
        '[buses.fedora]\ntype = "amqp"\nrules = "packit"\nconfig = "nowhere"\nprefetch = 0\n'
    )
    lines = busmon("lint", "-c", path, status=2).stderr.splitlines()
    assert lines[0].startswith("busmon: lint.accept, item 1: 'listener-only:' should be KIND:TOPIC")
    assert lines[1:] == [
        f"busmon: buses.fedora.config: {tmp_path}/nowhere: No such file or directory",
        "busmon: buses.fedora.prefetch: should be greater than 0",
    ]
    path.write_text(path.read_text().replace("only:", "only:a"))
    environment = {"BUSMON__BUSES__CENTOS__URL": "mqtt://a", "BUSMON__WEB__TOKEN_FILE": "/nowhere"}
    errors = busmon("lint", "-c", path, env=environment, status=2).stderr.splitlines()
    unknown = "BUSMON__BUSES__CENTOS__URL: the configuration file has no such bus"
    assert errors == [*lines[1:], f"busmon: {unknown}"]


def test_fedora_toml_replaces_the_files_that_the_configuration_names(
    tmp_path: Path,
) -> None:
    path = tmp_path / "busmon.toml"
    bus = '[buses.fedora]\ntype = "amqp"\nrules = "packit"\nconfig = "/nowhere/fedora.toml"\n'
    path.write_text(f'[lint]\naccept = ["mapped-not-bound:{CLOSED}"]\n{bus}')
    toml = fedora_toml(tmp_path, [topic for topic in TOPICS if topic != CLOSED])
    ended = busmon("lint", "-c", path, "--fedora-toml", toml)
    assert ended.stdout.startswith("no differences, 1 accepted: ")
    path.write_text(f"lint = 3\n{bus}")
    ended = busmon("lint", "-c", path, "--fedora-toml", toml, status=2)
    assert ended.stderr == "busmon: lint: should be a table\n"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["-c", "missing.toml"], "missing.toml: No such file or directory"),
        (["--fedora-toml", "missing.toml"], "does not exist"),
        (["--fedora-toml", __file__], "busmon: " + __file__),
        (["--worker-source", "missing"], "does not exist"),
    ],
)
def test_a_list_that_cannot_be_read_ends_the_command_with_status_2(
    words: list[str], problem: str
) -> None:
    ended = busmon("lint", *words, status=2)
    assert problem in ended.stderr
    assert ended.stdout == ""
