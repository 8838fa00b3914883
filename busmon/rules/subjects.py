"""What a message is about: a few short keys, by which people find it.

One table says, for each family of topics, which field of the body gives which key: a new topic
is a line. A key is a number, a commit, or a name of letters, digits and a few marks; what is
anything else is left out. So no free text, address or secret can become a key.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from busmon.ledger.subjects import MAX_KEYS
from busmon.message import Message
from busmon.settings.models import SUBJECT_KINDS, SubjectKind

MAX_CHARACTERS = 100  # of a key's value
MAX_TOTAL = 250  # characters of all keys of a message
MAX_TOPICS = 200  # of which the fields are remembered
MAX_DIGITS = 16
MAX_NUMBER = 10**MAX_DIGITS
# No blank and no "@": neither a text nor an address is a name.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+~^:/-]*").fullmatch
COMMIT = re.compile(r"[0-9a-f]{7,64}").fullmatch
NAMESPACES = frozenset({"rpms", "modules", "container", "containers", "flatpaks", "tests"})

# Those of one bus, in the words of Fedora's: a topic after one of these, up to its second dot,
# is a family. CentOS's Pagure names its topics as Fedora's does.
PREFIXES = {
    "org.fedoraproject.prod.": "",
    "org.fedoraproject.stg.": "",
    "org.release-monitoring.prod.": "",
    "org.release-monitoring.stg.": "",
    "git.centos.org/": "pagure.",
    "git.stg.centos.org/": "pagure.",
}

Body = Mapping[str, Any]
Read = Callable[[Body], Any]
Fields = tuple[tuple[SubjectKind, Callable[[Any], str | None], Read], ...]


class Field(NamedTuple):
    """Where the value of a key is in the body."""

    kind: SubjectKind
    read: Read


def at(kind: SubjectKind, *path: str) -> Field:
    """Return the field at a path of the body."""
    return Field(kind, _at(*path))


def _at(*path: str) -> Read:
    first = path[0]
    if len(path) == 1:
        return lambda body: body.get(first)

    def read(body: Body) -> Any:
        value: Any = body
        for name in path:
            if not isinstance(value, dict):
                return None
            value = value.get(name)
        return value

    return read


def _joined(mark: str, *reads: Read) -> Read:
    """Read texts and join them by a mark; None if one of them is missing or no text."""

    def read(body: Body) -> str | None:
        parts = [part(body) for part in reads]
        try:
            return mark.join(parts) if all(parts) else None
        except TypeError:
            return None

    return read


def _either(one: Read, other: Read) -> Read:
    return lambda body: one(body) or other(body)


def _pull_request(*path: str) -> Read:
    """Read of a pull request of Pagure, which has two names for it."""
    return _either(_at("pullrequest", *path), _at("pull_request", *path))


_pull_request_project = _joined(
    "/", _pull_request("project", "namespace"), _pull_request("project", "name")
)


def _source_package(body: Body) -> str | None:
    """Return the NVR of a task's source package, without its ending."""
    name = body.get("srpm")
    return name[:MAX_TOTAL].removesuffix(".src.rpm") if isinstance(name, str) else None


def _anitya_package(body: Body) -> Any:
    packages = _at("message", "packages")(body)
    first = packages[0] if isinstance(packages, list) and packages else None
    return first.get("package_name") if isinstance(first, dict) else None


def _forge(*path: str) -> tuple[Field, ...]:
    """Return the fields of a repository of Forgejo. Outside dist-git its owner can be a person."""
    full_name = _at("body", *path, "full_name")

    def project(body: Body) -> str | None:
        name = full_name(body)
        known = isinstance(name, str) and name[:MAX_CHARACTERS].partition("/")[0] in NAMESPACES
        return name if known else None

    return Field("project", project), at("package", "body", *path, "name")


NVR = Field("nvr", _joined("-", _at("name"), _at("version"), _at("release")))
RUN = (
    *_forge("run", "repository"),
    at("commit", "body", "run", "commit_sha"),
)
FAMILIES: dict[str, tuple[Field, ...]] = {
    "copr.build": (
        at("build", "build"),
        at("project", "copr"),
        at("package", "pkg"),
        Field("nvr", _joined("-", _at("pkg"), _at("version"))),
        at("owner", "user"),
    ),
    "buildsys.build": (
        at("build", "build_id"),
        at("task", "task_id"),
        at("package", "name"),
        NVR,
        at("owner", "owner"),
    ),
    "buildsys.task": (at("task", "id"), Field("nvr", _source_package), at("owner", "owner")),
    "buildsys.tag": (
        at("build", "build_id"),
        at("package", "name"),
        NVR,
        at("tag", "tag"),
        at("owner", "owner"),
    ),
    "pagure.git": (
        Field("project", _joined("/", _at("repo", "namespace"), _at("repo", "name"))),
        at("package", "repo", "name"),
        at("pull-request", "pull_request_id"),
        at("commit", "end_commit"),
        at("owner", "agent"),
    ),
    "pagure.pull-request": (
        Field("project", _pull_request_project),
        Field("package", _pull_request("project", "name")),
        Field("pull-request", _pull_request("id")),
        Field("commit", _pull_request("commit_stop")),
        Field("owner", _pull_request("user", "name")),
    ),
    "hotness.update": (at("package", "package"),),
    "anitya.project": (
        at("project", "message", "project", "name"),
        Field("package", _anitya_package),
    ),
    "openscanhub.task": (at("task", "task_id"),),
    "logdetective.analysis": (
        at("build", "target_build"),
        at("pull-request", "pr_id"),
        at("commit", "commit_sha"),
    ),
    "forgejo.push": (*_forge("repository"), at("commit", "body", "after")),
    "forgejo.pull_request": (
        *_forge("repository"),
        at("pull-request", "body", "number"),
        at("commit", "body", "pull_request", "head", "sha"),
    ),
    "forgejo.issue_comment": (*_forge("repository"), at("pull-request", "body", "issue", "number")),
    "forgejo.action_run_success": RUN,
    "forgejo.action_run_failure": RUN,
    "forgejo.action_run_recover": RUN,
    "forgejo.action_run_cancelled": RUN,
}


class Subjects:
    """Finds the keys of messages, of these kinds."""

    def __init__(self, kinds: Sequence[SubjectKind]) -> None:
        self._families = {
            family: tuple(
                (field.kind, CHECKS.get(field.kind, _name), field.read)
                for field in fields
                if field.kind in kinds
            )[:MAX_KEYS]
            for family, fields in FAMILIES.items()
        }
        self._topics: dict[str, Fields] = {}  # the fields of those that were seen

    def keys(self, message: Message) -> tuple[str, ...]:
        """Return the keys of a message, each with its kind before it; never raises."""
        if not isinstance(message.body, dict):
            return ()
        found: list[str] = []
        room = MAX_TOTAL
        fields = self._topics.get(message.topic)
        if fields is None:
            fields = self._fields(message.topic)
        for kind, check, read in fields:
            if value := check(read(message.body)):
                text = f"{kind} {value}"
                room -= len(text)
                if room < 0:
                    break
                found.append(text)
        return tuple(found)

    def _fields(self, topic: str) -> Fields:
        fields = self._families.get(family(topic), ())
        if fields and len(topic) <= MAX_CHARACTERS and len(self._topics) < MAX_TOPICS:
            self._topics[topic] = fields  # what a publisher invents has its limit
        return fields


def family(topic: str) -> str:
    """Return the family of a topic; that of no table if it has none."""
    for prefix, instead in PREFIXES.items():
        if topic.startswith(prefix):
            first, _, rest = (instead + topic[len(prefix) :]).partition(".")
            return f"{first}.{rest.partition('.')[0]}"
    return ""


def alternatives(word: str) -> list[str]:
    """Return the keys that a word of a search can mean: `build:123`, or `123` of any kind."""
    kind, _, value = word.partition(":")
    if kind not in SUBJECT_KINDS:  # a name can have a colon
        kind, value = "", word
    return [
        f"{each} {checked}"
        for each in SUBJECT_KINDS
        if kind in {"", each} and (checked := CHECKS.get(each, _name)(value))
    ]


def _number(value: Any) -> str | None:
    if isinstance(value, int):
        return str(value) if type(value) is int and 0 <= value < MAX_NUMBER else None
    if isinstance(value, str) and len(value) < MAX_DIGITS and value.isascii():
        return value if value.isdecimal() else None
    return None


def _name(value: Any) -> str | None:
    if isinstance(value, str) and len(value) <= MAX_CHARACTERS and NAME(value):
        return value
    return None


def _commit(value: Any) -> str | None:
    if isinstance(value, str) and len(value) <= MAX_CHARACTERS and COMMIT(value):
        return value
    return None


CHECKS: dict[SubjectKind, Callable[[Any], str | None]] = {
    "pull-request": _number,
    "build": _number,
    "task": _number,
    "commit": _commit,
}
