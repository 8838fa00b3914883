"""`busmon lint`: the lists of topics that people keep by hand, and where they differ."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from busmon.commands.lint import (
    TOPICS,
    LintError,
    Lists,
    RoutingKeys,
    lint,
    mapped_by,
    parsed_by,
)
from busmon.settings.lint import DifferenceKind
from busmon.sources.filters import matches
from tests.support.topic_lists import EVENTS, PREFIX, listener_source, worker_source


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


def differences(
    bindings: Mapping[str, Sequence[str]] | None = None,
    listener: Sequence[str] | None = None,
    worker: Sequence[str] | None = None,
) -> list[tuple[DifferenceKind, str]]:
    keys = {file: RoutingKeys(tuple(bound)) for file, bound in (bindings or {}).items()}
    return [
        (difference.kind, difference.topic)
        for difference in lint(Lists(keys, listener, worker)).differences
    ]


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ({}, []),
        ({"bindings": {"toml": TOPICS}}, []),
        ({"bindings": {"toml": ["#"]}}, []),
        ({"bindings": {"toml": [PREFIX + "#", "org.release-monitoring.#"]}}, []),
        ({"bindings": {"toml": [*TOPICS, "a.b"]}}, [(DifferenceKind.BOUND_NOT_MAPPED, "a.b")]),
        ({"bindings": {"toml": [*TOPICS, "a.*"]}}, [(DifferenceKind.BOUND_NOT_MAPPED, "a.*")]),
        ({"bindings": {"toml": TOPICS[1:]}}, [(DifferenceKind.MAPPED_NOT_BOUND, TOPICS[0])]),
        (
            {"bindings": {"one": TOPICS[1:], "two": TOPICS[:-1]}},
            sorted(
                [
                    (DifferenceKind.MAPPED_NOT_BOUND, TOPICS[0]),
                    (DifferenceKind.MAPPED_NOT_BOUND, TOPICS[-1]),
                ]
            ),
        ),
        ({"listener": TOPICS}, []),
        ({"listener": [*TOPICS, "a.b"]}, [(DifferenceKind.LISTENER_ONLY, "a.b")]),
        ({"listener": TOPICS[1:]}, [(DifferenceKind.BUSMON_ONLY, TOPICS[0])]),
        ({"worker": EVENTS}, []),
        ({"worker": EVENTS[1:]}, [(DifferenceKind.PASSED_NOT_PARSED, TOPICS[0])]),
        ({"worker": [*EVENTS, "a.b"]}, []),  # harmless
        (
            {"worker": EVENTS, "listener": [*TOPICS, PREFIX + "a.b"]},
            [
                (DifferenceKind.LISTENER_ONLY, PREFIX + "a.b"),
                (DifferenceKind.PASSED_NOT_PARSED, PREFIX + "a.b"),
            ],
        ),
    ],
)
def test_every_difference_between_two_lists_is_reported(
    lists: dict[str, Any], expected: list[tuple[DifferenceKind, str]]
) -> None:
    assert differences(**lists) == expected


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ([], DifferenceKind.MAPPED_NOT_BOUND),
        (["a.b"], DifferenceKind.MAPPED_NOT_BOUND),
        ([TOPICS[1]], DifferenceKind.MAPPED_NOT_BOUND),
        ([TOPICS[0]], DifferenceKind.WATCHED_NOT_BOUND),
        (["a.b", "org.fedoraproject.prod.#"], DifferenceKind.WATCHED_NOT_BOUND),
    ],
)
def test_what_only_busmon_receives_is_a_difference_of_its_own(
    own: list[str], expected: DifferenceKind
) -> None:
    """Its keys are never taken for the listener's: none is reported as bound by it."""
    keys = RoutingKeys(TOPICS[1:], tuple(own))
    [difference] = lint(Lists({"fedora.toml": keys})).differences
    assert (difference.kind, difference.topic) == (expected, TOPICS[0])
    assert "no routing key of fedora.toml matches it" in difference.text
    assert ("busmon's own" in difference.text) == (expected is DifferenceKind.WATCHED_NOT_BOUND)


@pytest.mark.parametrize(
    ("accept", "unneeded"),
    [
        ([f"mapped-not-bound:{TOPICS[0]}"], []),
        (["mapped-not-bound:org.*"], []),
        (["mapped-not-bound:*", f"mapped-not-bound:{TOPICS[0]}"], []),
        ([f"mapped-not-bound:{TOPICS[0]}", f"mapped-not-bound:{TOPICS[1]}"], [1]),
        (["bound-not-mapped:a.b", f"watched-not-bound:{TOPICS[0]}"], [0, 1]),
        ([f"listener-only:{TOPICS[0]}", f"passed-not-parsed:{TOPICS[0]}"], []),  # not given
        ([f"mapped-not-bound:{TOPICS[0]}x"], [0]),
        ([], []),
    ],
)
def test_an_accepted_difference_is_none_and_a_needless_one_is_named(
    accept: list[str], unneeded: list[int]
) -> None:
    result = lint(Lists({"toml": RoutingKeys(TOPICS[1:])}), accept)
    accepted = any(text.startswith("mapped-") for text in accept) and len(accept) > len(unneeded)
    kinds = [
        [difference.kind for difference in differences]
        for differences in (result.differences, result.accepted)
    ]
    assert kinds == ([[], ["mapped-not-bound"]] if accepted else [["mapped-not-bound"], []])
    assert result.unneeded == [accept[index] for index in unneeded]


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
def test_a_table_that_cannot_be_read_is_an_error_and_not_no_difference(
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
