"""`busmon lint`: the lists of topics that people keep by hand, and where they differ."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from busmon.commands.lint import (
    TOPICS,
    DriftKind,
    LintError,
    Lists,
    lint,
    mapped_by,
    matches,
    parsed_by,
)
from tests.support.command import busmon

PREFIX = "org.fedoraproject.prod."
CLOSED = PREFIX + "pagure.pull-request.closed"
EVENTS = [topic.removeprefix(PREFIX) for topic in TOPICS]


@pytest.mark.parametrize(
    ("routing_key", "topic", "expected"),
    [
        ("a.b.c", "a.b.c", True),
        ("a.b", "a.b.c", False),
        ("a.b.c", "a.b", False),
        ("a.*.c", "a.b.c", True),
        ("a.*", "a.b.c", False),
        ("a.*.*", "a.b.c", True),
        ("*", "a", True),
        ("*", "a.b", False),
        ("#", "a.b.c", True),
        ("a.#", "a", True),
        ("a.#", "a.b.c", True),
        ("a.#", "b.a", False),
        ("#.c", "a.b.c", True),
        ("#.c", "c", True),
        ("a.#.c", "a.c", True),
        ("a.#.c", "a.b.b.c", True),
        ("a.#.c", "a.b.b.d", False),
        ("#.#", "a", True),
        ("*.#.*", "a", False),
        ("a.b*", "a.bc", False),  # only a whole word is a wildcard
        (".".join(["#"] * 100 + ["z"]), "a.b.c.d.e.f.g.h.i", False),  # and soon
        ("", "a", False),
    ],
)
def test_a_routing_key_matches_topics_as_the_broker_does(
    routing_key: str, topic: str, expected: bool
) -> None:
    assert matches(routing_key, topic) is expected


def drifts(
    bindings: Mapping[str, Sequence[str]] | None = None,
    listener: Sequence[str] | None = None,
    worker: Sequence[str] | None = None,
) -> list[tuple[DriftKind, str]]:
    return [(drift.kind, drift.topic) for drift in lint(Lists(bindings or {}, listener, worker))]


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ({}, []),
        ({"bindings": {"toml": TOPICS}}, []),
        ({"bindings": {"toml": ["#"]}}, []),
        ({"bindings": {"toml": [PREFIX + "#", "org.release-monitoring.#"]}}, []),
        ({"bindings": {"toml": [*TOPICS, "a.b"]}}, [(DriftKind.BOUND_NOT_MAPPED, "a.b")]),
        ({"bindings": {"toml": [*TOPICS, "a.*"]}}, [(DriftKind.BOUND_NOT_MAPPED, "a.*")]),
        ({"bindings": {"toml": TOPICS[1:]}}, [(DriftKind.MAPPED_NOT_BOUND, TOPICS[0])]),
        (
            {"bindings": {"one": TOPICS[1:], "two": TOPICS[:-1]}},
            sorted(
                [(DriftKind.MAPPED_NOT_BOUND, TOPICS[0]), (DriftKind.MAPPED_NOT_BOUND, TOPICS[-1])]
            ),
        ),
        ({"listener": TOPICS}, []),
        ({"listener": [*TOPICS, "a.b"]}, [(DriftKind.LISTENER_ONLY, "a.b")]),
        ({"listener": TOPICS[1:]}, [(DriftKind.BUSMON_ONLY, TOPICS[0])]),
        ({"worker": EVENTS}, []),
        ({"worker": EVENTS[1:]}, [(DriftKind.PASSED_NOT_PARSED, TOPICS[0])]),
        ({"worker": [*EVENTS, "a.b"]}, []),  # harmless
        (
            {"worker": EVENTS, "listener": [*TOPICS, PREFIX + "a.b"]},
            [
                (DriftKind.LISTENER_ONLY, PREFIX + "a.b"),
                (DriftKind.PASSED_NOT_PARSED, PREFIX + "a.b"),
            ],
        ),
    ],
)
def test_every_difference_between_two_lists_is_reported(
    lists: dict[str, Any], expected: list[tuple[DriftKind, str]]
) -> None:
    assert drifts(**lists) == expected


def listener_source(directory: Path, topics: Sequence[str], place: str = "callbacks.py") -> Path:
    """Code in the shape of the listener's, which must not be run."""
    lines = [
        "import nowhere",
        "raise SystemExit",
        "def get_callback(topic): return MAPPING.get(topic)",
        "MAPPING = {",
        *(f'    "{topic}": nowhere.callback,' for topic in topics),
        "}",
    ]
    path = directory / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))
    return directory


def worker_source(directory: Path, events: Sequence[str], place: str = "parser.py") -> Path:
    """Code in the shape of the worker's, with events of other sources."""
    lines = [
        "import nowhere",
        "class Parser:",
        "    MAPPING: nowhere.Table = {",
        '        "github": {"push": nowhere.push},',
        '        "fedora-messaging": {',
        *(f'            "{event}": (nowhere.parse.__func__),' for event in events),
        "        },",
        "    }",
    ]
    path = directory / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))
    return directory


@pytest.mark.parametrize("place", ["callbacks.py", "packit_service_fedmsg/callbacks.py"])
def test_the_listeners_topics_are_read_from_a_clone_or_the_package(
    tmp_path: Path, place: str
) -> None:
    assert mapped_by(listener_source(tmp_path, TOPICS, place)) == TOPICS


@pytest.mark.parametrize(
    "place", ["parser.py", "worker/parser.py", "packit_service/worker/parser.py"]
)
def test_the_workers_event_types_of_this_bus_are_read(tmp_path: Path, place: str) -> None:
    assert parsed_by(worker_source(tmp_path, ["a.b", "c"], place)) == ("a.b", "c")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "has no packit_service_fedmsg/callbacks.py nor callbacks.py"),
        (b"", "no table MAPPING of topics found"),
        (b"MAPPING = {}", "no table MAPPING of topics found"),
        (b"MAPPING = make()", "no table MAPPING of topics found"),
        (b"mapping = {'a': f}", "no table MAPPING of topics found"),
        (b"MAPPING = {'a': f,\n PREFIX + 'b': f}", "callbacks.py:2: MAPPING has a key that is no"),
        (b"MAPPING = {'a': f, **MORE}", "callbacks.py:1: MAPPING has a key that is not plain text"),
        (b"MAPPING = {", "cannot be read as Python"),
        (b"\xff", "cannot be read as Python"),
        (b"\0", "cannot be read as Python"),
    ],
)
def test_a_table_that_cannot_be_read_is_an_error_and_not_no_drift(
    tmp_path: Path, text: bytes | None, problem: str
) -> None:
    if text is not None:
        (tmp_path / "callbacks.py").write_bytes(text)
    with pytest.raises(LintError) as raised:
        mapped_by(tmp_path)
    assert problem in str(raised.value)


@pytest.mark.parametrize("text", ["MAPPING = {'github': {'push': f}}", "MAPPING = {1: 2}"])
def test_a_worker_without_this_buss_part_of_the_table_is_reported(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "parser.py").write_text(text)
    with pytest.raises(LintError, match=r"no table MAPPING\['fedora-messaging'\] of topics found"):
        parsed_by(tmp_path)


def fedora_toml(directory: Path, topics: Sequence[str]) -> Path:
    """As in the listener's own deployment: its certificates are not here."""
    path = directory / "fedora.toml"
    path.write_text(f"""
amqp_url = "amqps://listener@broker.example"
[tls]
ca_cert = "/nowhere/ca.pem"
certfile = "/nowhere/cert.pem"
keyfile = "/nowhere/key.pem"
[[bindings]]
exchange = "amq.topic"
routing_keys = {json.dumps(list(topics))}
""")
    return path


def test_lists_that_agree_give_status_0(tmp_path: Path) -> None:
    ended = busmon(
        "lint", "--fedora-toml", fedora_toml(tmp_path, TOPICS),
        "--listener-source", listener_source(tmp_path, TOPICS),
        "--worker-source", worker_source(tmp_path, EVENTS),
    )  # fmt: skip
    number = len(TOPICS)
    assert ended.stdout == (
        f"no drifts: busmon's rules ({number} topics), {tmp_path}/fedora.toml ({number} routing"
        f" keys), listener's code ({number} topics), worker's code ({number} topics)\n"
    )


def test_each_drift_is_a_line_and_status_1(tmp_path: Path) -> None:
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
    assert lines[-1].startswith("3 drifts: ")
    assert "listener's code (not given)" in lines[-1]
    answer = json.loads(busmon(*words, "--json", status=1).stdout)
    assert [[drift["kind"], drift["topic"]] for drift in answer["drifts"]] == [
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
    path.write_text(bus + f'rules = "packit"\nrouting_keys = {json.dumps(TOPICS[1:])}\n')
    output = busmon("lint", "-c", path, status=1).stdout
    assert output.startswith(f"mapped-not-bound   {TOPICS[0]}")
    path.write_text(bus + 'rules = "all"\n')
    assert "give --fedora-toml FILE" in busmon("lint", "-c", path, status=2).stderr


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
