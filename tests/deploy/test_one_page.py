"""One cause, one page: played busmons, and a real Prometheus and Alertmanager.

Each cause has a namespace of its own. It lasts for 25 minutes; what follows from it, for longer.
"""

import math
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from tests.deploy.alerting import Receiver, alertmanager, prometheus, receiving
from tests.deploy.haste import FACTOR
from tests.deploy.played import Busmon
from tests.deploy.scene import ANITYA, COPR, Fault
from tests.deploy.stage import staging
from tests.support.prometheus import Prometheus

BEGIN, END, LAST = 20, 45, 90  # minutes
ATTEMPTS = 3  # to play it without a disturbance


@dataclass(frozen=True)
class Cause:
    """The faults that make a cause, the pages that it sends, and what fires beside them."""

    faults: tuple[Fault, ...]
    pages: tuple[str, ...]
    effects: frozenset[str]


def cause(*faults: Fault, pages: str = "", effects: str = "") -> Cause:
    return Cause(faults, tuple(pages.split()), frozenset(effects.split()))


def fault(kind: str, of: str = "", begin: float = BEGIN, end: float = END) -> Fault:
    return Fault(kind, begin, end, of)


ACCEPTED = fault("accepted", begin=75, end=LAST)
CAUSES = {
    "all-is-well": cause(),
    "pod-gone": cause(fault("pod gone"), pages="BusmonDown"),
    "crash-loop": cause(fault("crash loop"), pages="BusmonRestarting", effects="BusmonNoAuditData"),
    "network-cut": cause(  # its three connections notice it at different times
        fault("cut", "fedora"),
        fault("cut", "centos", BEGIN + 1.5),
        fault("cut", "stomp", BEGIN + 3, END + 1),
        pages="BusmonDisconnected",
    ),
    "broker-down": cause(fault("broker down", "fedora"), pages="BusmonBusDisconnected"),
    "disk-full": cause(fault("disk full"), pages="BusmonBlind", effects="BusmonLedgerNearlyFull"),
    "monitor-cut": cause(fault("monitor cut"), effects="BusmonListenerDown"),
    "tap-cut": cause(fault("tap cut"), effects="BusmonListenerDown"),
    "listener-down": cause(
        fault("listener down"),
        fault("events not processed"),
        ACCEPTED,
        pages="BusmonListenerDown",
        effects="BusmonListenerGap BusmonNoAuditData",
    ),
    "events-not-processed": cause(
        fault("events not processed", begin=8, end=60), pages="BusmonEventsNotProcessed"
    ),
    "listener-drops": cause(fault("listener drops"), ACCEPTED, pages="BusmonListenerGap"),
    "workers-down": cause(
        fault("workers down"), pages="BusmonQueueStuck", effects="BusmonQueueGrowing"
    ),
    "queue-without-workers": cause(
        fault("queue without workers", "long-running"), pages="BusmonQueueStuck"
    ),
    "backlog": cause(fault("slow workers"), effects="BusmonQueueGrowing"),
    "silent-bus": cause(
        fault("silent", "fedora"), pages="BusmonAllTopicsSilent", effects="BusmonTopicSilent"
    ),
    "silent-publisher": cause(fault("silent", ANITYA), effects="BusmonTopicSilent"),
    "silent-copr": cause(fault("silent", COPR), pages="BusmonTopicSilent"),
    "packit--stg": cause(
        fault("listener down"),
        ACCEPTED,
        effects="BusmonListenerDown",
    ),
    # Two causes, two pages.
    "broker-and-listener": cause(
        fault("broker down", "centos"),
        fault("listener down"),
        ACCEPTED,
        pages="BusmonBusDisconnected BusmonListenerDown",
    ),
    "queue-and-copr": cause(
        fault("queue without workers", "long-running"),
        fault("silent", COPR),
        pages="BusmonQueueStuck BusmonTopicSilent",
    ),
    "queue-and-listener": cause(
        fault("queue without workers", "long-running", BEGIN - 5),
        fault("listener down"),
        ACCEPTED,
        pages="BusmonListenerDown BusmonQueueStuck",
    ),
}


@dataclass(frozen=True)
class Story:
    """What arrived, and all that fired, by namespace."""

    receiver: Receiver
    fired: dict[str, set[str]]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Let all causes happen at once, each in its namespace."""
    for _ in range(ATTEMPTS):
        story, disturbed = tell(tmp_path_factory.mktemp("one_page"))
        if not disturbed:
            break
    return story


def tell(directory: Path) -> tuple[Story, bool]:
    """Let all causes happen; return also whether the machine added another one."""
    with receiving() as receiver:
        alerts, port = alertmanager(directory, receiver)
        with alerts, staging() as stage, prometheus(directory, stage.jobs(), port) as server:
            stage.play(Busmon(name, cause.faults) for name, cause in CAUSES.items())
            time.sleep(LAST * 60 / FACTOR)
            fired: dict[str, set[str]] = {name: set() for name in CAUSES}
            for alert in server.now('last_over_time(ALERTS{alertstate="firing"}[10m])'):
                labels = alert["metric"]
                if "namespace" in labels:
                    fired[labels["namespace"]].add(labels["alertname"])
            return Story(receiver, fired), was_disturbed(server)


def was_disturbed(server: Prometheus) -> bool:
    """Return whether a scrape timed out or was left out: then, a busmon that is well is down."""
    slowest = server.value("max(max_over_time(scrape_duration_seconds[2m]))")
    found = server.ask("query", query='up{namespace="all-is-well"}[2m]')["result"]
    times = [[at for at, _ in series["values"]] for series in found]
    gaps = (later - earlier for of in times for earlier, later in pairwise(of))
    longest = max(gaps, default=math.inf)
    return slowest is None or slowest > 0.9 or longest > 1.5  # of one second


@pytest.mark.parametrize("name", CAUSES)
def test_one_cause_gives_one_page_and_its_end(story: Story, name: str) -> None:
    """And a warning, or something staging has, gives none."""
    pages = story.receiver.pages(name)
    assert {page for _, page in pages} == set(CAUSES[name].pages)
    for page in CAUSES[name].pages:
        assert [status for status, of in pages if of == page] == ["firing", "resolved"]


@pytest.mark.parametrize("name", CAUSES)
def test_what_follows_from_a_cause_fires_but_pages_nobody(story: Story, name: str) -> None:
    assert story.fired[name] >= CAUSES[name].effects | {*CAUSES[name].pages}


@pytest.mark.parametrize(
    "name", ["silent-publisher", "monitor-cut", "tap-cut", "backlog", "packit--stg"]
)
def test_what_wakes_nobody_up_arrives_in_the_chat(story: Story, name: str) -> None:
    assert ("firing", *CAUSES[name].effects) in story.receiver.pages(name, by="chat")


def test_nothing_fires_while_all_is_well(story: Story) -> None:
    assert story.fired["all-is-well"] == set()
