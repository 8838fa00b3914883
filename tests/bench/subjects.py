"""Messages with the keys of a busy bus: builds that begin and end in several chroots, and so on."""

from collections import deque
from collections.abc import Iterator
from random import Random
from typing import Any

from busmon.rules.packit import FEDORA

AT_ONCE = 60  # builds whose messages come mixed
PACKAGES = [f"python-module{number}" for number in range(2000)]

Event = tuple[str, dict[str, Any]]


def events(seed: int = 1) -> Iterator[Event]:
    """Yield topic and body of messages without end; about as many of each kind as on Fedora's."""
    rng = Random(seed)
    number = 9_000_000
    running: list[deque[Event]] = []
    while True:
        while len(running) < AT_ONCE:
            number += rng.randrange(1, 4)
            make = rng.choices((_copr, _koji, _scratch, _pull_request), (50, 25, 20, 5))[0]
            running.append(deque(make(rng, number)))
        chosen = rng.randrange(AT_ONCE)
        yield running[chosen].popleft()
        if not running[chosen]:
            del running[chosen]


def _copr(rng: Random, build: int) -> Iterator[Event]:
    package, copr = rng.choice(PACKAGES), f"project-{rng.randrange(500)}"
    source = {"build": build, "copr": copr, "pkg": None, "version": None}
    body = {"build": build, "copr": copr, "pkg": package, "version": f"1.{build}-1.fc44"}
    for each in (source, *[body] * rng.choice((1, 2, 2, 4, 4, 8))):
        for state in ("start", "end"):
            yield f"{FEDORA}copr.build.{state}", each | {"user": f"user{build % 50}"}


def _koji(rng: Random, build: int) -> Iterator[Event]:
    name = rng.choice(PACKAGES)
    body = {"build_id": build, "name": name, "version": f"2.{build}", "release": "1.fc44"}
    for _ in range(2):
        yield f"{FEDORA}buildsys.build.state.change", body | {"task_id": build + 1_000_000}
    for tag in ("f44-updates-candidate", "f44-updates-testing-pending", "f44")[: rng.randrange(4)]:
        yield f"{FEDORA}buildsys.tag", body | {"tag": tag}


def _scratch(rng: Random, task: int) -> Iterator[Event]:
    srpm = f"{rng.choice(PACKAGES)}-3.{task}-1.fc44.src.rpm"
    for _ in range(3):
        yield f"{FEDORA}buildsys.task.state.change", {"id": task, "srpm": srpm}


def _pull_request(rng: Random, number: int) -> Iterator[Event]:
    name = rng.choice(PACKAGES)
    body = {
        "project": {"namespace": "rpms", "name": name},
        "id": number % 300,
        "commit_stop": rng.randbytes(20).hex(),
    }
    for _ in range(rng.randrange(1, 5)):
        yield f"{FEDORA}pagure.pull-request.comment.added", {"pullrequest": body}
