"""Where else a message shows: links from its keys, by the family of its topic."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote

from busmon.rules.subjects import family

COPR = "https://copr.fedorainfracloud.org/coprs/build/{}"
KOJI = "https://koji.fedoraproject.org/koji/"
DIST_GIT = "https://src.fedoraproject.org/{}"
DASHBOARD = "https://dashboard.packit.dev/projects/src.fedoraproject.org/{}"
SCAN = "https://openscanhub.fedoraproject.org/task/{}/"


class Link(NamedTuple):
    """A link to another service."""

    name: str
    url: str


def links(topic: str, keys: Mapping[str, str]) -> Iterator[Link]:
    """Yield the links of a message that has these keys, by kind."""
    of = {kind: quote(value, safe="/") for kind, value in keys.items()}
    source = MAKERS.get(family(topic).partition(".")[0])
    if source:
        yield from source(topic, of)


def _copr(_topic: str, keys: Mapping[str, str]) -> Iterator[Link]:
    if build := keys.get("build"):
        yield Link("Copr build", COPR.format(build))


def _koji(_topic: str, keys: Mapping[str, str]) -> Iterator[Link]:
    if build := keys.get("build"):
        yield Link("Koji build", f"{KOJI}buildinfo?buildID={build}")
    if task := keys.get("task"):
        yield Link("Koji task", f"{KOJI}taskinfo?taskID={task}")


def _pagure(topic: str, keys: Mapping[str, str]) -> Iterator[Link]:
    fedora = topic.startswith("org.")
    host = DIST_GIT if fedora else "https://git.centos.org/{}"
    yield from _repository(keys, host, "pull-request", "c")
    if fedora and (project := keys.get("project")):
        yield Link("Packit's dashboard", DASHBOARD.format(project))


def _forgejo(_topic: str, keys: Mapping[str, str]) -> Iterator[Link]:
    yield from _repository(keys, DIST_GIT, "pulls", "commit")


def _repository(keys: Mapping[str, str], host: str, request: str, commit: str) -> Iterator[Link]:
    if not (project := keys.get("project")):
        return
    repository = host.format(project)
    yield Link("Repository", repository)
    if number := keys.get("pull-request"):
        yield Link("Pull request", f"{repository}/{request}/{number}")
    if digest := keys.get("commit"):
        yield Link("Commit", f"{repository}/{commit}/{digest}")


def _scan(_topic: str, keys: Mapping[str, str]) -> Iterator[Link]:
    if task := keys.get("task"):
        yield Link("OpenScanHub", SCAN.format(task))


MAKERS: dict[str, Callable[[str, Mapping[str, str]], Iterator[Link]]] = {
    "copr": _copr,
    "buildsys": _koji,
    "pagure": _pagure,
    "forgejo": _forgejo,
    "openscanhub": _scan,
}
