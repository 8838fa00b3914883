"""A made-up year: what goes wrong in it, and what busmon exports."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.deploy.year.causes import Cause
from tests.deploy.year.metrics import Series, series_of_year
from tests.deploy.year.plant import Faults, make_buses, make_listener, make_workers
from tests.deploy.year.silences import Silence, silences
from tests.silence.simulation.traffic import TOPICS, Topic


@dataclass(frozen=True)
class World:
    """A year: what went wrong, the silence of each topic, and all that is exported."""

    causes: list[Cause]
    topics: list[Silence]
    series: list[Series]


def make_world(
    rng: np.random.Generator, causes: list[Cause], topics: Sequence[Topic] = TOPICS
) -> World:
    """Return the year in which these causes happen; busmon watches these topics of Fedora's bus."""
    faults = Faults(causes)
    buses = make_buses(faults, rng, topics)
    watched = silences(buses.years, buses.blind["fedora"])
    watched += silences([buses.centos], buses.blind["centos"])
    listener = make_listener(faults, buses, rng)
    workers = make_workers(faults, listener.passed, rng)
    return World(causes, watched, series_of_year(faults, buses, listener, workers, watched))
