"""What Packit's listener would do with a message, topic by topic."""

import tracemalloc
from typing import Any

import pytest

from busmon.rules import Rules, rule_set
from busmon.rules.packit import PackitRules
from tests.rules import ANITYA, DIST_GIT, ELSEWHERE, PACKIT, P, judge


def packages(*packages: Any, **more: Any) -> dict[str, Any]:
    return {"message": {"packages": list(packages), "upstream_versions": ["2.12"]} | more}


def comments(*comments: Any) -> dict[str, Any]:
    return {"pullrequest": {"comments": list(comments)}}


def push(repository: Any = DIST_GIT, **head_commit: Any) -> dict[str, Any]:
    return {"body": {"repository": repository, "head_commit": head_commit}}


COMMENT = {"comment": "/packit build", "user": {"name": "bob"}}
CENTOS_PACKAGE = {"distro": "CentOS", "package_name": "hello"}
FEDORA_PACKAGE = {"distro": "Fedora", "package_name": "hello"}

CASES = [
    (P + "copr.build.start", {"user": "packit"}, "handled"),
    (P + "copr.build.start", {"user": "alice"}, "ignored not-packit-user"),
    (P + "copr.build.start", {"owner": "packit"}, "ignored not-packit-user"),
    (P + "copr.build.end", {"user": "packit"}, "handled"),
    (P + "copr.build.end", {}, "ignored not-packit-user"),
    (P + "buildsys.tag", {"tag": "f44-build-side-123"}, "handled"),
    (P + "buildsys.tag", {"tag": "f44-updates"}, "ignored not-sidetag"),
    (P + "buildsys.tag", {"tag": "f44-build-side"}, "ignored not-sidetag"),
    (P + "buildsys.tag", {}, "error rule-raises"),
    (P + "buildsys.tag", {"tag": None}, "error rule-raises"),
    (
        P + "buildsys.build.state.change",
        {"task": {"method": "build"}, "owner": "alice"},
        "handled",
    ),
    (
        P + "buildsys.build.state.change",
        {"task": {"method": "image"}, "owner": "releng"},
        "ignored not-build-method",
    ),
    (P + "buildsys.build.state.change", {"task": None}, "ignored not-build-method"),
    (
        P + "buildsys.build.state.change",
        {"task": {"method": "build"}, "owner": "releng"},
        "ignored releng",
    ),
    (P + "buildsys.build.state.change", {"task": {"method": "build"}}, "handled"),
    (P + "buildsys.task.state.change", {"owner": "packit"}, "handled"),
    (P + "buildsys.task.state.change", {"owner": "alice"}, "ignored not-packit-user"),
    (P + "pagure.git.receive", {"changed_files": {"hello.spec": "M"}}, "handled"),
    (P + "pagure.git.receive", {"changed_files": {"a": "M", "b/c.spec": "A"}}, "handled"),
    (P + "pagure.git.receive", {"changed_files": {"a.spec.in": "M"}}, "ignored no-specfile-change"),
    (P + "pagure.git.receive", {"changed_files": {}}, "ignored no-specfile-change"),
    (P + "pagure.git.receive", {}, "ignored no-specfile-change"),
    (P + "pagure.git.receive", {"changed_files": ["hello.spec"]}, "error rule-raises"),
    (P + "pagure.pull-request.new", {}, "handled"),
    (P + "pagure.pull-request.updated", {}, "handled"),
    (P + "pagure.pull-request.rebased", {}, "handled"),
    (P + "pagure.pull-request.comment.added", comments(COMMENT), "handled"),
    (P + "pagure.pull-request.comment.added", comments({}, COMMENT), "handled"),
    (P + "pagure.pull-request.comment.added", comments(COMMENT, {}), "error rule-raises"),
    (P + "pagure.pull-request.comment.added", comments({"comment": "Hi"}), "error rule-raises"),
    (P + "pagure.pull-request.comment.added", comments(), "error rule-raises"),
    (P + "pagure.pull-request.comment.added", {}, "error rule-raises"),
    (
        P + "pagure.pull-request.flag.added",
        {"pullrequest": {"user": {"name": "packit"}}},
        "handled",
    ),
    (
        P + "pagure.pull-request.flag.added",
        {"pullrequest": {"user": {"name": "alice"}}},
        "ignored not-packit-user",
    ),
    (
        P + "pagure.pull-request.flag.updated",
        {"pullrequest": {"user": {"name": "packit"}}},
        "handled",
    ),
    (P + "pagure.pull-request.flag.updated", {}, "ignored not-packit-user"),
    (P + "pagure.pull-request.closed", {"pullrequest": {"merged": True}}, "handled"),
    (P + "pagure.pull-request.closed", {"pullrequest": {"merged": False}}, "ignored not-merged"),
    (P + "pagure.pull-request.closed", {"merged": True}, "ignored not-merged"),
    (P + "hotness.update.bug.file", {}, "handled"),
    (ANITYA, packages(FEDORA_PACKAGE, CENTOS_PACKAGE), "handled"),
    (ANITYA, packages(CENTOS_PACKAGE, {"distro": "CentOS"}), "handled"),
    (ANITYA, packages({"distro": "CentOS"}, CENTOS_PACKAGE), "ignored no-centos-mapping"),
    (ANITYA, packages(FEDORA_PACKAGE), "ignored no-centos-mapping"),
    (ANITYA, packages(), "ignored no-centos-mapping"),
    (ANITYA, packages(FEDORA_PACKAGE, upstream_versions=None), "ignored no-centos-mapping"),
    (ANITYA, packages(CENTOS_PACKAGE, upstream_versions=None), "error rule-raises"),
    (ANITYA, {"message": {}}, "error rule-raises"),
    (ANITYA, {}, "error rule-raises"),
    (P + "openscanhub.task.started", {}, "handled"),
    (P + "openscanhub.task.finished", {}, "handled"),
    (P + "logdetective.analysis", {}, "handled"),
    (P + "forgejo.push", push(modified=["hello.spec"]), "handled"),
    (P + "forgejo.push", push(added=["hello.spec"], modified=None), "handled"),
    (P + "forgejo.push", push(removed=["hello.spec"]), "handled"),
    (P + "forgejo.push", push(modified=["README.md"]), "ignored no-specfile-change"),
    (P + "forgejo.push", {"body": {"repository": DIST_GIT}}, "ignored no-specfile-change"),
    (P + "forgejo.push", push(ELSEWHERE, modified=["hello.spec"]), "ignored not-dist-git"),
    (P + "forgejo.push", push(modified={"hello.spec": "M"}), "error rule-raises"),
    (P + "forgejo.pull_request", {"body": {"repository": DIST_GIT}}, "handled"),
    (P + "forgejo.pull_request", {"body": {"repository": ELSEWHERE}}, "ignored not-dist-git"),
    (P + "forgejo.pull_request", {}, "ignored not-dist-git"),
    (P + "forgejo.pull_request", {"body": {"repository": {"html_url": 7}}}, "error rule-raises"),
    (
        P + "forgejo.issue_comment",
        {"body": {"repository": DIST_GIT, "comment": {"body": "Hi"}}},
        "handled",
    ),
    (P + "forgejo.issue_comment", {"body": {"repository": ELSEWHERE}}, "ignored not-dist-git"),
    (P + "forgejo.issue_comment", {"body": {"repository": DIST_GIT}}, "error rule-raises"),
    *(
        (P + f"forgejo.action_run_{result}", {"body": {"run": {"repository": repository}}}, outcome)
        for result in ("success", "failure", "recover", "cancelled")
        for repository, outcome in ((DIST_GIT, "handled"), (ELSEWHERE, "ignored not-dist-git"))
    ),
    (P + "forgejo.action_run_success", {"body": {"repository": DIST_GIT}}, "ignored not-dist-git"),
    (P + "copr.build", {"user": "packit"}, "unmapped"),
    (P + "copr.build.end.more", {"user": "packit"}, "unmapped"),
    ("org.fedoraproject.stg.copr.build.end", {"user": "packit"}, "unmapped"),
    ("", {}, "unmapped"),
]


@pytest.mark.parametrize(("topic", "body", "expected"), CASES)
def test_packits_listener_on_each_topic(topic: str, body: Any, expected: str) -> None:
    assert judge(PACKIT, topic, body) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://src.fedoraproject.org/rpms/hello", "handled"),
        ("https://pkgs.fedoraproject.org/rpms/hello", "handled"),
        ("https://src.stg.fedoraproject.org/rpms/hello", "handled"),
        ("https://pkgs.stg.fedoraproject.org/rpms/hello", "handled"),
        ("https://SRC.fedoraproject.org:443/rpms/hello", "handled"),
        ("https://src.fedoraproject.org.example.org/rpms/hello", "ignored not-dist-git"),
        ("https://example.org/src.fedoraproject.org", "ignored not-dist-git"),
        ("src.fedoraproject.org", "ignored not-dist-git"),
        ("", "ignored not-dist-git"),
        (None, "ignored not-dist-git"),
        ("https://[src.fedoraproject.org", "error rule-raises"),
    ],
)
def test_dist_git_is_recognised_by_the_host_of_the_address(url: Any, expected: str) -> None:
    body = {"body": {"repository": {"html_url": url}}}
    assert judge(PACKIT, P + "forgejo.pull_request", body) == expected


def test_the_table_covers_every_topic_of_the_rule_set() -> None:
    known = {topic for topic, _ in PACKIT.known_series()}
    assert known == {topic for topic, _, expected in CASES if expected != "unmapped"}


def test_the_table_covers_every_judgement_of_the_rule_set() -> None:
    known = {(topic, f"{v.outcome} {v.reason}".strip()) for topic, v in PACKIT.known_series()}
    assert known <= {(topic, expected) for topic, _, expected in CASES}


@pytest.mark.parametrize(
    ("topic", "body"),
    [
        (P + "pagure.git.receive", {}),
        (P + "pagure.git.receive", {"changed_files": ["hello.spec"]}),
        (P + "forgejo.push", push(modified=["README.md"])),
    ],
)
def test_only_a_project_named_packit_asks_for_a_change_of_the_spec_file(
    topic: str, body: Any
) -> None:
    other = rule_set("packit", Rules(packit=PackitRules(project="fedora-ci")))
    assert judge(other, topic, body) == "handled"
    staging = rule_set("packit", Rules(packit=PackitRules(project="packit-stg")))
    assert judge(staging, topic, body) != "handled"


def test_the_packit_user_is_a_parameter() -> None:
    staging = rule_set("packit", Rules(packit=PackitRules(user="packit-stg")))
    topic = P + "copr.build.end"
    assert judge(staging, topic, {"user": "packit-stg"}) == "handled"
    assert judge(staging, topic, {"user": "packit"}) == "ignored not-packit-user"


def test_no_address_is_kept_however_long() -> None:
    def kept() -> int:
        for number in range(100):
            url = f"http://{number}/" + "x" * 10_000
            judge(PACKIT, P + "forgejo.pull_request", push({"html_url": url}))
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        assert kept() < 100_000
    finally:
        tracemalloc.stop()
