"""The keys by which people find a message."""

import json
import tracemalloc
from typing import Any

import pytest

from busmon.ledger.subjects import MAX_KEYS
from busmon.message import Message
from busmon.rules.packit import FEDORA, TABLE
from busmon.rules.subjects import MAX_TOTAL, Subjects, alternatives
from busmon.settings.models import SUBJECT_KINDS, LedgerSettings
from tests.samples import CENTOS, CENTOS_FILE, FEDORA_FILE
from tests.support.cpu import cpu_time_at_most

BUILD, NVR, COMMIT = "build 3000001", "nvr hello-2.12-1.fc44", f"commit {'2' * 40}"
REPOSITORY = "project rpms/hello", "package hello"
PULL_REQUEST = (*REPOSITORY, "pull-request 7", COMMIT)
FAMILIES = {  # topics that begin so: the keys of their first sample
    "copr.build.": ("build 7000001", "project hello-main", "package hello", NVR),
    "buildsys.tag": (BUILD, "package hello", NVR, "tag f44-build-side-12345"),
    "buildsys.build.": (BUILD, "task 9000001", "package hello", NVR),
    "buildsys.task.": ("task 9000001", NVR),
    "pagure.git.": (*REPOSITORY, COMMIT),
    "pagure.pull-request.": PULL_REQUEST,
    "hotness.": ("package hello",),
    "org.release-monitoring.": ("project hello", "package hello"),
    "openscanhub.": ("task 15001",),
    "logdetective.": ("build 9000001", "pull-request 7", COMMIT),
    "forgejo.push": (*REPOSITORY, COMMIT),
    "forgejo.pull_request": (*REPOSITORY, "pull-request 7"),
    "forgejo.issue_comment": (*REPOSITORY, "pull-request 7"),
    "forgejo.action_run_": (*REPOSITORY, COMMIT),
}


def keys(topic: str, body: Any, subjects: Subjects | None = None) -> tuple[str, ...]:
    message = Message(bus="fedora", id="1", topic=topic, received_at=0, body=body)
    return (subjects or Subjects(LedgerSettings().subjects)).keys(message)


def test_each_topic_of_the_listener_has_its_keys() -> None:
    bodies: dict[str, Any] = {}
    for line in FEDORA_FILE.read_text().splitlines():
        record = json.loads(line)
        bodies.setdefault(record["topic"], record["body"])
    found = {topic: keys(topic, bodies[topic]) for topic in TABLE}
    assert found == {
        topic: next(
            expected
            for family, expected in FAMILIES.items()
            if topic.removeprefix(FEDORA).startswith(family)
        )
        for topic in TABLE
    }


def test_messages_of_centos_have_the_keys_of_its_pagure() -> None:
    repository = "project source-git/hello", "package hello"
    records = [json.loads(line) for line in CENTOS_FILE.read_text().splitlines()[:-1]]
    for record, (topic, _, _) in zip(records, CENTOS, strict=False):
        number = () if topic.endswith("git.receive") else ("pull-request 1",)
        assert keys(topic, record["payload"]) == (*repository, *number, COMMIT)


def test_a_person_is_kept_only_if_the_owner_is_asked_for() -> None:
    body = {"build": 1, "user": "alice", "owner": "alice", "what": "user:alice"}
    assert keys(FEDORA + "copr.build.end", body) == ("build 1",)
    asked = Subjects((*LedgerSettings().subjects, "owner"))
    assert keys(FEDORA + "copr.build.end", body, asked) == ("build 1", "owner alice")
    fork = {"body": {"number": 1, "repository": {"full_name": "alice/hello", "name": "hello"}}}
    assert keys(FEDORA + "forgejo.pull_request", fork) == ("package hello", "pull-request 1")
    assert keys(FEDORA + "copr.build.end", body, Subjects(())) == ()


@pytest.mark.parametrize(
    "value",
    [
        "two words", "a@example.org", "line\nbuild 1", "x" * 101, "", "é", "-x", True, -1, 1.5,
        10**16, "\u0661", ["hello"], {"id": "hello"}, None,
    ],
)  # fmt: skip
def test_what_is_no_short_name_and_no_number_is_no_key(value: object) -> None:
    names = ("build", "copr", "pkg", "version", "build_id", "task_id", "name", "tag", "release")
    for topic in ("copr.build.end", "buildsys.tag", "buildsys.build.state.change"):
        assert keys(FEDORA + topic, dict.fromkeys(names, value)) == ()
    request = {"project": value, "id": value, "commit_stop": value}
    assert keys(FEDORA + "pagure.pull-request.new", {"pullrequest": request}) == ()
    assert keys(FEDORA + "pagure.pull-request.new", value) == ()


def test_the_keys_of_one_message_are_bounded_in_number_length_and_cost() -> None:
    names = ("name", "version", "release", "tag", "owner")
    long = Subjects(SUBJECT_KINDS)
    found = keys(FEDORA + "buildsys.tag", dict.fromkeys(names, "x" * 100), long)
    assert 0 < len(found) <= MAX_KEYS
    assert sum(map(len, found)) <= MAX_TOTAL
    with cpu_time_at_most(0.05):
        assert keys(FEDORA + "buildsys.tag", dict.fromkeys(names, "x" * 400_000), long) == ()


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("build:12", ["build 12"]),
        ("rpms/hello", ["package rpms/hello", "project rpms/hello"]),
        ("12", ["pull-request 12", "build 12", "task 12"]),
        ("project:a:pr:1", ["project a:pr:1"]),
        ("a:pr:1", ["project a:pr:1"]),
        ("build:hello", []),
        ("two words", []),
    ],
)
def test_a_word_of_a_search_stands_for_the_keys_that_it_can_be(
    word: str, expected: list[str]
) -> None:
    found = alternatives(word)
    assert set(expected) <= set(found)
    assert bool(found) == bool(expected)
    assert len(found) <= len(SUBJECT_KINDS)


def test_topics_that_a_publisher_invents_take_little_memory() -> None:
    subjects = Subjects(LedgerSettings().subjects)

    def remembered() -> int:
        for number in range(20_000):
            keys(f"{FEDORA}copr.build.{number}", {"build": 1}, subjects)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        assert remembered() < 200_000
    finally:
        tracemalloc.stop()
