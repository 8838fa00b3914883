"""What happens in a year at Packit, minute by minute: the buses, the listener and its workers.

A small model beside the made-up traffic: what the listener passes on waits in a queue, workers take
it, and the audit closes its windows.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tests.deploy.year.causes import Cause
from tests.silence.simulation import traffic
from tests.silence.simulation.past import SHARES
from tests.silence.simulation.traffic import DAY, MINUTES, Span, Topic, Year

WEBHOOKS = 4  # a minute
TAKEN = 60  # tasks a minute that the workers can take
WINDOW, CLOSES_AFTER = 5, 2  # minutes
GIT = Topic("git.centos.org/git.receive", 300, 3, 10, 0.3, 0.4, 0.3, 1.0, 7 * DAY)
# Which topics of Fedora's bus the publishers send.
PUBLISHERS = {
    "Copr is down": "copr.",
    "Koji is down": "buildsys.",
    "dist-git is down": "pagure.",
    "Anitya is down": "release-monitoring",
    "Fedora's planned outage": ".",
    "nothing comes on the bus": ".",
}
OF_PUBLISHERS = {"copr": "copr.", "koji builds": "buildsys.", "koji tasks": "buildsys."}


class Faults:
    """In which minutes something is wrong."""

    def __init__(self, causes: Iterable[Cause]) -> None:
        self._causes = list(causes)

    def causes(self, *names: str) -> list[Cause]:
        return [cause for cause in self._causes if cause.kind.name in names]

    def during(self, *names: str) -> np.ndarray:
        """Return the minutes in which one of these is wrong."""
        marks = np.zeros(MINUTES, dtype=bool)
        for cause in self.causes(*names):
            marks[int(np.ceil(cause.begin)) : int(np.ceil(cause.end))] = True
        return marks

    def again_and_again(self, name: str, wrong: int, period: int) -> np.ndarray:
        """Return the minutes in which it is wrong: so many of each period."""
        marks = np.zeros(MINUTES, dtype=bool)
        for cause in self.causes(name):
            begin, end = int(cause.begin), int(cause.end)
            marks[begin:end] = np.arange(end - begin) % period < wrong
        return marks


def spans(marks: np.ndarray) -> list[Span]:
    """Return the times in which it is true."""
    edges = np.flatnonzero(np.diff(marks.astype(np.int8), prepend=0, append=0)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def until_next(marks: np.ndarray) -> np.ndarray:
    """Return, for each minute, the next one at which it is true, at most the last."""
    at = np.where(marks, np.arange(MINUTES), MINUTES - 1)
    found: np.ndarray = np.minimum.accumulate(at[::-1])[::-1]
    return found


def waiting(arrived: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Return the length of a queue after each minute, of which at most so many are taken."""
    surplus = np.cumsum(arrived - taken)
    queue: np.ndarray = surplus - np.minimum(np.minimum.accumulate(surplus), 0)
    return queue


@dataclass
class Buses:
    """What came on the buses, and when busmon could see it."""

    years: list[Year]  # of Fedora's bus
    centos: Year
    handled: np.ndarray  # messages that Packit's listener should pass on, by minute
    seen: np.ndarray  # those of them that busmon received
    answers: np.ndarray  # busmon does
    connected: dict[str, np.ndarray]
    writes: np.ndarray  # busmon can write its ledger
    blind: dict[str, list[Span]]


def make_buses(faults: Faults, rng: np.random.Generator, topics: Iterable[Topic]) -> Buses:
    """Return what came of these topics of Fedora's bus, and what busmon saw of it."""
    answers = ~(
        faults.during(
            "a new busmon is rolled out", "busmon's node dies", "busmon does not come back"
        )
        | faults.again_and_again("busmon crashes after each start", 5, 6)
    )
    writes = ~faults.during("busmon's disk is full")
    cut = faults.during("the network is cut for a moment", "the network is cut")
    broker = faults.during("a broker restarts", "a broker is down")
    unstable = faults.again_and_again("a connection comes and goes", 2, 5)
    connected = {"fedora": writes & ~(cut | broker | unstable), "centos": writes & ~cut}
    blind = {bus: spans(~(of & answers)) for bus, of in connected.items()}
    down = {name: faults.during(name) for name in PUBLISHERS}

    def silenced(sent: np.ndarray, topic: str) -> np.ndarray:
        for name, part in PUBLISHERS.items():
            if part in topic:
                sent = np.where(down[name], 0, sent)
        return np.where(broker, 0, sent)

    def seen(sent: np.ndarray, bus: str) -> np.ndarray:
        received = sent.copy()
        for since, until in blind[bus]:
            kept = received[since:until].sum() if until - since < 60 else 0  # the queue expires
            received[since:until] = 0
            received[min(until, MINUTES - 1)] += kept
        return received

    def year(topic: Topic, bus: str, sent: np.ndarray) -> Year:
        return Year(topic, sent, seen(sent, bus))

    years = [
        year(topic, "fedora", silenced(traffic.arrivals(topic, rng), topic.name))
        for topic in topics
    ]
    handled = np.sum(
        [
            silenced(traffic.arrivals(habits, rng), OF_PUBLISHERS.get(name, "pagure."))
            for name, (habits, _) in SHARES.items()
        ],
        axis=0,
    )
    wrong = faults.during("a filter is wrong")
    handled[wrong] = rng.binomial(handled[wrong], 0.4)  # Copr's are filtered
    centos = year(GIT, "centos", traffic.arrivals(GIT, rng))
    return Buses(years, centos, handled, seen(handled, "fedora"), answers, connected, writes, blind)


@dataclass
class Listener:
    """What the listener does, by minute."""

    runs: np.ndarray
    subscribed: np.ndarray  # to its queue; its monitor says so
    receives: np.ndarray
    monitored: np.ndarray  # busmon reaches its monitor
    reports: np.ndarray  # the tap reaches busmon
    restarts: np.ndarray  # so far
    passed: np.ndarray
    lost: np.ndarray


def make_listener(faults: Faults, buses: Buses, rng: np.random.Generator) -> Listener:
    """Return what the listener does with the messages that it should pass on."""
    crashes = faults.again_and_again("the listener crashes after each start", 1, 4)
    away = faults.during(
        "a new Packit is rolled out",
        "the listener crashes once",
        "the listener's node dies",
        "the listener is down",
    )
    runs = ~(away | crashes)
    off = faults.during("a broker restarts", "a broker is down")
    hangs = faults.during("the listener hangs")
    consumes = runs & ~off & ~hangs
    passed = np.where(consumes, buses.handled, 0)
    half = faults.during("the listener drops half")
    passed[half] = rng.binomial(passed[half], 0.5)
    return Listener(
        runs,
        runs & ~off,
        consumes,
        runs & ~faults.during("busmon does not reach the monitor") & buses.answers,
        runs & ~faults.during("the tap does not reach busmon") & buses.answers,
        np.cumsum(np.diff(runs.astype(np.int8), prepend=1) > 0),
        passed,
        buses.handled - passed,
    )


@dataclass
class Workers:
    """What the workers do, by minute. What arrived and ended are sums of the year so far."""

    queues: dict[str, np.ndarray]
    arrived: np.ndarray  # tasks, with those of webhooks
    ended: np.ndarray
    lost: np.ndarray  # tasks that a worker took, and did not end, in each minute
    failed: np.ndarray  # handlers, in each minute
    webhooks: np.ndarray


def make_workers(faults: Faults, passed: np.ndarray, rng: np.random.Generator) -> Workers:
    """Return what the workers do with what the listener passes on."""
    hour = np.arange(MINUTES) % DAY / 60
    shape = 0.4 + np.exp(-(((hour - 13.5) / 4.5) ** 2))
    webhooks = rng.poisson(WEBHOOKS * shape / shape.mean())
    webhooks[faults.during("GitHub is down")] = 0
    arrived = passed + webhooks
    taken = np.full(MINUTES, TAKEN)
    taken[faults.during("the workers are down", "a new Packit is rolled out")] = 0
    slow = faults.during("the workers are too slow")
    taken[slow] = round(0.5 * arrived.mean())
    short = waiting(arrived, taken)
    some = rng.poisson(1.5 * shape / shape.mean())
    of_long = np.where(
        faults.during("the workers are down", "the long queue has no worker")
        | faults.during("a new Packit is rolled out"),
        0,
        6,
    )
    ended = arrived - np.diff(short, prepend=0)
    dying = faults.during("the workers lose tasks")
    lost = np.where(dying, rng.binomial(ended, 0.5), 0)
    share = np.full(MINUTES, 0.005)
    share[faults.during("handlers fail")] = 0.7
    share[faults.during("GitHub is down")] = 0.6
    return Workers(
        {
            "short-running": short + rng.poisson(0.3, MINUTES) * (taken > 0),
            "long-running": waiting(some, of_long) + rng.poisson(0.1, MINUTES) * (of_long > 0),
            "rare": faults.during("one task takes long").astype(int),
        },
        np.cumsum(arrived),
        np.cumsum(ended),
        lost,
        rng.binomial(ended - lost, share),
        np.cumsum(webhooks),
    )
