"""The calendar of a made-up year at Packit: what went wrong when, and who could act on it.

How often each kind of cause happens in a year is a guess, made before anything was measured.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tests.silence.simulation.traffic import DAY, DAYS

ON_CALL = "Packit's engineer on duty"
INFRA = "the administrators of the bus"
NOBODY = "nobody"
SILENT = "BusmonTopicSilent BusmonTopicsSilent BusmonAllTopicsSilent"
LISTENER = "BusmonListenerDown BusmonListenerRestarting BusmonListenerStalled"
WORKERS = "BusmonQueueStuck BusmonServiceLevelFailing BusmonEventsNotProcessed BusmonWorkerGap"
HANDLERS = "BusmonTasksFailing BusmonHandlersGap BusmonServiceLevelFailing"


@dataclass(frozen=True)
class Kind:
    """A kind of cause: how often a year it happens, for how many minutes, who can act on it.

    `pages` are the alerts that are right about it; `must` says that one of them has to page within
    an hour. The others heal by themselves, or can wait for the morning.
    """

    name: str
    a_year: int
    minutes: tuple[float, float]  # the shortest and the longest
    who: str
    pages: str = ""
    must: bool = False
    at_work: bool = False  # begins between 8 and 15 UTC on working days

    @property
    def actionable(self) -> bool:
        return self.who != NOBODY


KINDS = (
    # What the buses bring.
    Kind("Copr is down", 6, (20, 600), "the Copr team", SILENT, must=True),
    Kind("Koji is down", 4, (20, 480), INFRA, SILENT, must=True),
    Kind("dist-git is down", 4, (60, 1440), INFRA, SILENT),
    Kind("Anitya is down", 2, (1440, 5 * DAY), INFRA, SILENT),
    Kind("Fedora's planned outage", 3, (120, 360), NOBODY, SILENT),
    Kind("nothing comes on the bus", 2, (60, 300), INFRA, SILENT, must=True),
    # The brokers, and the way to them.
    Kind("a broker restarts", 24, (1.25, 1.25), NOBODY),
    Kind(
        "a broker is down", 4, (20, 300), INFRA,
        "BusmonBusDisconnected BusmonDisconnected", must=True,
    ),
    Kind("the network is cut for a moment", 24, (0.5, 3), NOBODY),
    Kind(
        "the network is cut", 4, (15, 180), ON_CALL,
        "BusmonDisconnected BusmonBusDisconnected", must=True,
    ),
    Kind(
        "a connection comes and goes", 3, (60, 240), ON_CALL,
        "BusmonBlind BusmonBusDisconnected", must=True,
    ),
    # busmon.
    Kind("a new busmon is rolled out", 12, (0.7, 2), NOBODY, at_work=True),
    Kind("busmon's node dies", 4, (6, 13), NOBODY, "BusmonDown"),
    Kind("busmon does not come back", 1, (60, 300), ON_CALL, "BusmonDown", must=True),
    Kind(
        "busmon crashes after each start", 2, (60, 300), ON_CALL,
        "BusmonRestarting BusmonDown", must=True,
    ),
    Kind("busmon's disk is full", 1, (60, 240), ON_CALL, "BusmonBlind", must=True),
    # The listener. The queue of Packit's is deleted with its connection.
    Kind("a new Packit is rolled out", 52, (0.7, 2.5), NOBODY, at_work=True),  # workers, too
    Kind("the listener crashes once", 24, (0.5, 1.5), NOBODY),
    Kind("the listener's node dies", 4, (6, 8), NOBODY, "BusmonListenerDown"),
    Kind("the listener is down", 4, (20, 240), ON_CALL, LISTENER, must=True),
    Kind("the listener crashes after each start", 2, (60, 240), ON_CALL, LISTENER, must=True),
    Kind(
        "the listener hangs", 4, (20, 360), ON_CALL,
        "BusmonListenerStalled BusmonListenerGap", must=True,
    ),
    Kind(
        "the listener drops half", 2, (120, 1440), ON_CALL,
        "BusmonListenerGap BusmonServiceLevelFailing", must=True, at_work=True,
    ),
    Kind("a filter is wrong", 2, (DAY, 3 * DAY), ON_CALL, at_work=True),
    Kind("busmon does not reach the monitor", 2, (30, 600), ON_CALL),
    Kind("the tap does not reach busmon", 2, (30, 600), ON_CALL),
    # The workers.
    Kind("the workers are down", 4, (20, 240), ON_CALL, WORKERS, must=True),
    Kind("the long queue has no worker", 2, (60, 300), ON_CALL, "BusmonQueueStuck", must=True),
    Kind("one task takes long", 24, (20, 29), NOBODY),
    Kind("the workers are too slow", 8, (60, 360), ON_CALL, WORKERS, at_work=True),
    Kind("handlers fail", 4, (60, 600), ON_CALL, HANDLERS, must=True, at_work=True),
    Kind("GitHub is down", 3, (30, 180), NOBODY, HANDLERS),
    Kind(
        "the workers lose tasks", 2, (60, 300), ON_CALL,
        "BusmonWorkerGap BusmonServiceLevelFailing BusmonEventsNotProcessed", must=True,
    ),
    Kind("Redis restarts", 12, (0.5, 2), NOBODY),
    Kind("the push gateway restarts", 12, (1, 2), NOBODY),
    Kind("the push gateway is down", 2, (60, 600), ON_CALL),
    # Prometheus. That it stays away is the heartbeat's to notice.
    Kind("Prometheus restarts", 12, (1, 3), NOBODY),
)  # fmt: skip
BY_NAME = {kind.name: kind for kind in KINDS}


@dataclass(frozen=True)
class Cause:
    """Something that was wrong from `begin` to `end`, in minutes of the year."""

    kind: Kind
    begin: float
    end: float

    @property
    def minutes(self) -> float:
        return self.end - self.begin


def calendar(rng: np.random.Generator) -> list[Cause]:
    """Return the causes of a year, by their begin; those of one kind are days apart."""
    found = [cause for kind in KINDS for cause in _of_kind(kind, rng)]
    return sorted(found, key=lambda cause: cause.begin)


def _of_kind(kind: Kind, rng: np.random.Generator) -> Iterator[Cause]:
    part = (DAYS - 4) / kind.a_year
    for number in range(kind.a_year):
        day = 1 + number * part + rng.uniform(0, 0.8) * part
        if kind.at_work:
            day = min(day - max(0, day % 7 - 4), DAYS - 4) // 1 + rng.uniform(8, 15) / 24
        begin = day * DAY
        yield Cause(kind, begin, begin + np.exp(rng.uniform(*np.log(kind.minutes))))
