"""Packit's listener on the Fedora bus: the filters of packit-service-fedmsg.

One table has its topics, with a function for each kind. Each rule reads the same values
as the real filter, in the same order, and raises if that raises. The listener formats a log
line before it passes a message on: a key that is missing there kills it, too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from inspect import unwrap
from typing import Any
from urllib.parse import urlsplit

from busmon.message import Message
from busmon.rules.base import HANDLED, TopicRules, ignored
from busmon.settings.section import Section

# urlsplit() itself keeps the last 128 addresses in a cache, however long they are.
_split = unwrap(urlsplit)

DIST_GIT_HOSTS = (
    "src.fedoraproject.org",
    "pkgs.fedoraproject.org",
    "src.stg.fedoraproject.org",
    "pkgs.stg.fedoraproject.org",
)


class PackitRules(Section):
    """`[rules.packit]`: the settings of the listener on which its filters depend."""

    user: str = "packit"
    project: str = "packit"


def copr(listener: PackitRules, message: Message) -> str | None:
    """Copr: only builds by Packit."""
    if message.get("user") != listener.user:
        return "not-packit-user"
    return None


def koji_tag(_listener: PackitRules, message: Message) -> str | None:
    """Koji: only tagging into a side tag; raises without a tag."""
    if "-side-" not in message.get("tag"):
        return "not-sidetag"
    return None


def koji_build(_listener: PackitRules, message: Message) -> str | None:
    """Koji: builds from dist-git by anyone but the mass rebuild."""
    if message.get("task", "method") != "build":
        return "not-build-method"
    if message.get("owner") == "releng":
        return "releng"
    return None


def koji_task(listener: PackitRules, message: Message) -> str | None:
    """Koji: only scratch builds by Packit."""
    if message.get("owner") != listener.user:
        return "not-packit-user"
    return None


def pagure_push(listener: PackitRules, message: Message) -> str | None:
    """Dist-git on Pagure: pushes that change a spec file; all pushes for some projects."""
    if not _wants_specfile(listener):
        return None
    files = message.get("changed_files") or {}
    return _specfile_among(files.keys())


def pagure_comment(_listener: PackitRules, message: Message) -> None:
    """Dist-git on Pagure: every comment; raises if the last one is incomplete."""
    last = message.get("pullrequest", "comments")[-1]
    _logged = last["comment"], last["user"]["name"]


def pagure_flag(listener: PackitRules, message: Message) -> str | None:
    """Dist-git on Pagure: flags of Packit's own pull requests."""
    if message.get("pullrequest", "user", "name") != listener.user:
        return "not-packit-user"
    return None


def pagure_closed(_listener: PackitRules, message: Message) -> str | None:
    """Dist-git on Pagure: pull requests that were closed by merging them."""
    if not message.get("pullrequest", "merged"):
        return "not-merged"
    return None


def anitya(_listener: PackitRules, message: Message) -> str | None:
    """Release monitoring: the first CentOS package decides, even if it has no name."""
    names = (
        package.get("package_name")
        for package in message.get("message", "packages")
        if package.get("distro") == "CentOS"
    )
    if next(names, None) is None:
        return "no-centos-mapping"
    _logged = ", ".join(message.get("message", "upstream_versions"))
    return None


def forgejo_push(listener: PackitRules, message: Message) -> str | None:
    """Forgejo: pushes to dist-git that change a spec file; all pushes for some projects."""
    if reason := forgejo_repository(listener, message):
        return reason
    if not _wants_specfile(listener):
        return None
    commit = message.get("body", "head_commit") or {}
    modified, added, removed = (commit.get(key) or [] for key in ("modified", "added", "removed"))
    return _specfile_among(modified + added + removed)


def forgejo_repository(_listener: PackitRules, message: Message) -> str | None:
    """Forgejo: only repositories of dist-git."""
    return _on_dist_git(message.get("body", "repository", "html_url"))


def forgejo_comment(listener: PackitRules, message: Message) -> str | None:
    """Forgejo: only comments on dist-git; raises without a comment."""
    if reason := forgejo_repository(listener, message):
        return reason
    _logged = message.get("body", "comment").get("body")
    return None


def forgejo_run(_listener: PackitRules, message: Message) -> str | None:
    """Forgejo: only action runs on dist-git."""
    return _on_dist_git(message.get("body", "run", "repository", "html_url"))


def always(_listener: PackitRules, _message: Message) -> None:
    """Every message: the listener passes it on."""


def _wants_specfile(listener: PackitRules) -> bool:
    return listener.project.startswith("packit")


def _specfile_among(names: Any) -> str | None:
    if any(name.endswith(".spec") for name in names):
        return None
    return "no-specfile-change"


def _on_dist_git(url: Any) -> str | None:
    if url and _split(url).hostname in DIST_GIT_HOSTS:
        return None
    return "not-dist-git"


@dataclass(frozen=True, slots=True)
class Entry:
    """The rule of a topic, and every reason that it can return.

    `busy`: its messages come many times every day, also at weekends and at Christmas. So it is
    expected from the first day on, when nobody knows yet what is usual. In ten made-up years like
    those of Fedora's bus the longest pause of Copr and Koji was 1 h, and that of the three busy
    topics of dist-git 18 h. The others there had pauses of more than 24 h.
    """

    rule: Callable[[PackitRules, Message], str | None]
    reasons: tuple[str, ...] = ()
    busy: bool = False


FEDORA = "org.fedoraproject.prod."
ANITYA = "org.release-monitoring.prod.anitya.project.version.update.v2"

COPR = Entry(copr, ("not-packit-user",), busy=True)
FLAG = Entry(pagure_flag, ("not-packit-user",))
RUN = Entry(forgejo_run, ("not-dist-git",))
ALWAYS = Entry(always)

TABLE = {
    FEDORA + "copr.build.start": COPR,
    FEDORA + "copr.build.end": COPR,
    FEDORA + "buildsys.tag": Entry(koji_tag, ("not-sidetag",), busy=True),
    FEDORA + "buildsys.build.state.change": Entry(
        koji_build, ("not-build-method", "releng"), busy=True
    ),
    FEDORA + "buildsys.task.state.change": Entry(koji_task, ("not-packit-user",), busy=True),
    FEDORA + "pagure.git.receive": Entry(pagure_push, ("no-specfile-change",), busy=True),
    FEDORA + "pagure.pull-request.new": Entry(always, busy=True),
    FEDORA + "pagure.pull-request.updated": ALWAYS,
    FEDORA + "pagure.pull-request.rebased": ALWAYS,
    FEDORA + "pagure.pull-request.comment.added": Entry(pagure_comment, busy=True),
    FEDORA + "pagure.pull-request.flag.added": FLAG,
    FEDORA + "pagure.pull-request.flag.updated": FLAG,
    FEDORA + "pagure.pull-request.closed": Entry(pagure_closed, ("not-merged",)),
    FEDORA + "hotness.update.bug.file": ALWAYS,
    ANITYA: Entry(anitya, ("no-centos-mapping",)),
    FEDORA + "openscanhub.task.started": ALWAYS,
    FEDORA + "openscanhub.task.finished": ALWAYS,
    FEDORA + "logdetective.analysis": ALWAYS,
    FEDORA + "forgejo.push": Entry(forgejo_push, ("not-dist-git", "no-specfile-change")),
    FEDORA + "forgejo.pull_request": Entry(forgejo_repository, ("not-dist-git",)),
    FEDORA + "forgejo.issue_comment": Entry(forgejo_comment, ("not-dist-git",)),
    FEDORA + "forgejo.action_run_success": RUN,
    FEDORA + "forgejo.action_run_failure": RUN,
    FEDORA + "forgejo.action_run_recover": RUN,
    FEDORA + "forgejo.action_run_cancelled": RUN,
}


def rule_set(listener: PackitRules) -> TopicRules:
    """Return the rule set of a listener with these settings."""
    rules = {topic: partial(entry.rule, listener) for topic, entry in TABLE.items()}
    known = (
        (topic, judgement)
        for topic, entry in TABLE.items()
        for judgement in (HANDLED, *map(ignored, entry.reasons))
    )
    busy = tuple(topic for topic, entry in TABLE.items() if entry.busy)
    return TopicRules(find=rules.get, judgements=tuple(known), busy=busy)
