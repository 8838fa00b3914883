"""What a fault of a soak is."""

import random
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import NamedTuple

from tests.soak.stage import Stage

# Begins, lasts for a while, and is repaired. It returns what /ready must name meanwhile.
Do = Callable[[Stage, random.Random], AbstractContextManager[Collection[str]]]


class Fault(NamedTuple):
    """Two faults can go together if their places differ; one that is `alone` cannot."""

    name: str
    place: str
    do: Do
    seconds: tuple[float, float]  # that it lasts, at least and at most
    alone: bool = False
