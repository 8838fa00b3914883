"""Made-up message bodies for the demo, with the keys that the rules read.

Each function makes one body. The tables give each topic its share of the traffic, about as on
an ordinary day: most messages are from Koji and Copr.
"""

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from busmon.rules.packit import ANITYA, FEDORA

Body = dict[str, Any]
Make = Callable[[Random], Body]


class Share(NamedTuple):
    """The weight of a topic in the traffic, and the function that makes its bodies."""

    weight: float
    topic: str
    make: Make


PACKAGES = ("bash", "curl", "gzip", "hello", "nano", "sed", "tar", "zlib")
PEOPLE = ("alice", "bob", "carol", "dave")
DIST_GIT = "https://src.fedoraproject.org/rpms/"
FORGE = "https://forge.fedoraproject.org/example/"


def copr(rng: Random) -> Body:
    """Return a Copr build, now and then Packit's."""
    user, package = _person(rng, packit=0.3), rng.choice(PACKAGES)
    build = rng.randrange(7_000_000, 8_000_000)
    return {
        "build": build,
        "chroot": rng.choice(("fedora-rawhide-x86_64", "fedora-43-aarch64", "epel-10-x86_64")),
        "copr": f"{package}-main",
        "owner": user,
        "pkg": package,
        "status": rng.choice((0, 1, 3)),
        "user": user,
        "version": "1.2-1",
        "what": f"build:{build} user:{user} pkg:{package}",
        "who": "backend.worker-1",
    }


def koji_tag(rng: Random) -> Body:
    """Return a build tagged; one in two hundred lacks the tag."""
    body = _build(rng) | {"tag_id": rng.randrange(1000), "user": _person(rng)}
    side = f"f44-build-side-{rng.randrange(100_000, 130_000)}"
    tag = (
        side if _chance(rng, 0.3) else rng.choice(("f44-updates-candidate", "f44-signing-pending"))
    )
    return body if _chance(rng, 0.005) else body | {"tag": tag}


def koji_build(rng: Random) -> Body:
    """Return a build that changed its state."""
    method = "build" if _chance(rng, 0.8) else "image"
    body = _build(rng) | {"attribute": "state", "old": 0, "new": 1, "task": {"method": method}}
    return body | {"owner": "releng"} if _chance(rng, 0.2) else body


def koji_task(rng: Random) -> Body:
    """Return a scratch build that changed its state."""
    task = rng.randrange(9_000_000, 10_000_000)
    return {
        "attribute": "state",
        "id": task,
        "info": {"id": task, "method": "build", "request": ["cli-build/a.src.rpm", "rawhide", {}]},
        "instance": "primary",
        "method": "build",
        "old": "OPEN",
        "new": rng.choice(("CLOSED", "FAILED")),
        "owner": _person(rng, packit=0.15),
    }


def pagure_push(rng: Random) -> Body:
    """Return a push to dist-git."""
    package = rng.choice(PACKAGES)
    name = f"{package}.spec" if _chance(rng, 0.75) else "README.md"
    return {
        "agent": _person(rng),
        "branch": "rawhide",
        "changed_files": {name: "M", "sources": "M"},
        "end_commit": _commit(rng),
        "repo": {"name": package, "namespace": "rpms"},
        "total_commits": 1,
    }


def pull_request(rng: Random) -> Body:
    """Return a pull request, open or closed in one way or the other; one comment or none."""
    author, package, merged = _person(rng, packit=0.4), rng.choice(PACKAGES), _chance(rng, 0.7)
    text = rng.choice(("LGTM", "/packit koji-build", "Please rebase."))
    comment = {"comment": text, "id": rng.randrange(10**6), "user": {"name": _person(rng)}}
    return {
        "agent": author,
        "flag": {"comment": "Jobs result is success", "status": "success", "username": "CI"},
        "pullrequest": {
            "branch": "rawhide",
            "comments": [] if _chance(rng, 0.02) else [comment],
            "commit_stop": _commit(rng),
            "full_url": f"{DIST_GIT}{package}/pull-request/7",
            "id": rng.randrange(1, 500),
            "merged": merged,
            "project": {"fullname": f"rpms/{package}", "name": package, "namespace": "rpms"},
            "status": "Merged" if merged else "Open",
            "title": f"Update {package}",
            "user": {"name": author},
        },
    }


def anitya(rng: Random) -> Body:
    """Return a new upstream release, seldom of a package that is mapped to CentOS."""
    package = rng.choice(PACKAGES)
    distros = ("Fedora", "CentOS") if _chance(rng, 0.1) else ("Fedora",)
    project = {"id": rng.randrange(1, 400_000), "name": package, "version": "1.3"}
    return {
        "distro": None,
        "message": {
            "packages": [{"distro": distro, "package_name": package} for distro in distros],
            "project": project,
            "upstream_versions": ["1.3"],
        },
        "project": project,
    }


def hotness(rng: Random) -> Body:
    """Return a bug filed about a new upstream release."""
    trigger = {"msg": anitya(rng), "topic": ANITYA}
    number = rng.randrange(2_000_000, 2_500_000)
    return {"bug": {"bug_id": number}, "package": rng.choice(PACKAGES), "trigger": trigger}


def scan(rng: Random) -> Body:
    """Return a task of OpenScanHub."""
    return {"status": "success", "task_id": rng.randrange(10_000, 20_000)}


def log_detective(rng: Random) -> Body:
    """Return an analysis of a failed build."""
    return {"build_system": "koji", "status": "complete", "target_build": str(rng.randrange(10**7))}


def forgejo(rng: Random) -> Body:
    """Return a webhook of Forgejo with what a push, a comment and an action run need."""
    package = rng.choice(PACKAGES)
    repository = {
        "full_name": f"rpms/{package}",
        "html_url": (DIST_GIT if _chance(rng, 0.4) else FORGE) + package,
        "name": package,
    }
    changed = f"{package}.spec" if _chance(rng, 0.7) else "README.md"
    payload: Body = {
        "comment": {"body": "/packit build", "user": {"login": _person(rng)}},
        "head_commit": {"id": _commit(rng), "added": [], "modified": [changed], "removed": []},
        "number": rng.randrange(1, 500),
        "ref": "refs/heads/rawhide",
        "repository": repository,
        "run": {"repository": repository, "status": "success", "title": f"Test {package}"},
        "sender": {"login": _person(rng)},
    }
    return {"agent": None, "body": payload, "headers": {"content-type": "application/json"}}


def other(rng: Random) -> Body:
    """Return something that no rule looks at."""
    return {"agent": _person(rng), "number": rng.randrange(10**6)}


FEDORA_SHARES = (
    Share(200, FEDORA + "copr.build.start", copr),
    Share(200, FEDORA + "copr.build.end", copr),
    Share(180, FEDORA + "buildsys.tag", koji_tag),
    Share(80, FEDORA + "buildsys.build.state.change", koji_build),
    Share(150, FEDORA + "buildsys.task.state.change", koji_task),
    Share(30, FEDORA + "pagure.git.receive", pagure_push),
    Share(6, FEDORA + "pagure.pull-request.new", pull_request),
    Share(8, FEDORA + "pagure.pull-request.updated", pull_request),
    Share(3, FEDORA + "pagure.pull-request.rebased", pull_request),
    Share(10, FEDORA + "pagure.pull-request.comment.added", pull_request),
    Share(8, FEDORA + "pagure.pull-request.flag.added", pull_request),
    Share(12, FEDORA + "pagure.pull-request.flag.updated", pull_request),
    Share(6, FEDORA + "pagure.pull-request.closed", pull_request),
    Share(4, FEDORA + "hotness.update.bug.file", hotness),
    Share(25, ANITYA, anitya),
    Share(4, FEDORA + "openscanhub.task.started", scan),
    Share(4, FEDORA + "openscanhub.task.finished", scan),
    Share(4, FEDORA + "logdetective.analysis", log_detective),
    Share(10, FEDORA + "forgejo.push", forgejo),
    Share(6, FEDORA + "forgejo.pull_request", forgejo),
    Share(8, FEDORA + "forgejo.issue_comment", forgejo),
    Share(8, FEDORA + "forgejo.action_run_success", forgejo),
    Share(3, FEDORA + "forgejo.action_run_failure", forgejo),
    Share(1, FEDORA + "forgejo.action_run_recover", forgejo),
    Share(1, FEDORA + "forgejo.action_run_cancelled", forgejo),
    Share(12, FEDORA + "bodhi.update.comment", other),
    Share(8, FEDORA + "bodhi.update.request.testing", other),
    Share(5, FEDORA + "badges.badge.award", other),
)

CENTOS_SHARES = (
    Share(5, "git.centos.org/pull-request.new", pull_request),
    Share(1, "git.centos.org/pull-request.reopened", pull_request),
    Share(8, "git.centos.org/pull-request.updated", pull_request),
    Share(15, "git.centos.org/pull-request.comment.added", pull_request),
    Share(2, "git.centos.org/pull-request.comment.edited", pull_request),
    Share(30, "git.centos.org/git.receive", pagure_push),
    Share(4, "git.centos.org/pull-request.closed", pull_request),
    Share(3, "git.centos.org/pull-request.tag.added", pull_request),
    Share(10, "git.centos.org/pull-request.flag.added", pull_request),
)


def _build(rng: Random) -> Body:
    return {
        "build_id": rng.randrange(3_000_000, 4_000_000),
        "instance": "primary",
        "name": rng.choice(PACKAGES),
        "owner": _person(rng, packit=0.1),
        "release": "1.fc44",
        "version": "1.2",
    }


def _person(rng: Random, packit: float = 0) -> str:
    return "packit" if _chance(rng, packit) else rng.choice(PEOPLE)


def _commit(rng: Random) -> str:
    return rng.randbytes(20).hex()


def _chance(rng: Random, probability: float) -> bool:
    return rng.random() < probability
