"""Recorded messages, explained."""

import io
import json
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import pytest

from busmon.commands.explain import as_json, explain, explain_files, rule_sets
from busmon.rules import Rules
from busmon.rules.packit import PackitRules
from busmon.sources.recorded.reader import read
from tests.samples import CENTOS, CENTOS_FILE, FEDORA, FEDORA_FILE
from tests.support.recorded import COPR, PUSH, lines


def explained(*files: tuple[str, Any], **options: Any) -> list[list[str]]:
    out = io.StringIO()
    explain_files(files, out, options.pop("rule_sets", rule_sets(None, Rules())), **options)
    return [line.split() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("path", "expected"), [(FEDORA_FILE, FEDORA), (CENTOS_FILE, CENTOS)], ids=["fedora", "centos"]
)
def test_the_samples_are_explained(path: Path, expected: list[tuple[str, str, str]]) -> None:
    with path.open("rb") as file:
        rows = explained((str(path), file))
    judged = [
        (topic, outcome, "".join(reason[:1]).rstrip(":")) for topic, _, outcome, *reason in rows
    ]
    assert judged == expected


def test_an_explanation_is_a_line_of_topic_id_outcome_and_reason() -> None:
    out = io.StringIO()
    ignored = COPR | {"id": "two", "body": {}}
    explain_files([("-", [*lines(COPR, ignored), b"{"])], out, rule_sets(None, Rules()))
    topic = "org.fedoraproject.prod.copr.build.end" + " " * 23
    assert out.getvalue().splitlines() == [
        f"{topic}  one{' ' * 33}  handled",
        f"{topic}  two{' ' * 33}  ignored   not-packit-user",
        f"__none__{' ' * 52}  -:3{' ' * 33}  invalid   not-json",
    ]


def test_an_explanation_in_json_is_an_object_a_line() -> None:
    out = io.StringIO()
    explain_files([("-", lines(COPR))], out, rule_sets(None, Rules()), as_json)
    assert json.loads(out.getvalue()) == {
        "topic": "org.fedoraproject.prod.copr.build.end",
        "id": "one",
        "outcome": "handled",
        "reason": "",
        "note": "",
    }


def test_the_rules_can_be_named_and_given_their_parameters() -> None:
    packit = rule_sets("packit", Rules())
    staging = rule_sets("packit", Rules(packit=PackitRules(user="packit-stg")))
    assert explained(("-", lines(PUSH)), rule_sets=packit)[0][2:] == ["unmapped"]
    assert explained(("-", lines(COPR)), rule_sets=staging)[0][3] == "not-packit-user"
    with pytest.raises(ValueError, match="not 'pakcit'"):
        rule_sets("pakcit", Rules())


def test_what_a_topic_holds_does_not_break_the_line() -> None:
    odd = {"topic": "a\nb\x1b[31m\ud800", "body": {}}
    assert explained(("-", lines(odd)))[0][0] == r"a\nb\x1b[31m\ud800"


def test_an_endless_stream_is_explained_as_it_comes() -> None:
    endless = repeat(lines(PUSH)[0])
    rows = explain(read(endless, "-", "-"), rule_sets(None, Rules()))
    assert [row.outcome for row in islice(rows, 3)] == ["handled"] * 3
