"""Messages that only somebody hostile sends."""

import random
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from tests.hostile.bodies import SHAPES, largest
from tests.soak.faults.fault import Fault
from tests.soak.stage import Stage
from tests.support.streams import COPR, Sample

BUSES = "fedora", "centos", "durable", "virtual"
OF_SHAPES = 3  # of these to each bus
NUMBER = 32  # characters
LARGE, HUGE = 2**20, 4 * 2**20  # bytes; busmon reads the first, but not the second
DEEP = 100_000  # brackets
DENSE = b"[" + b",".join([b'{"":0}'] * 290_000) + b"]"
# Of which nobody knows what they cost.
ENCODED = [
    Sample(COPR, "error", "too-costly", b"-" + b"9" * 400_000, encoding="punycode"),
    Sample(COPR, "error", "too-costly", b"xn--b." * 300_000, encoding="idna"),
]


def monsters_of(bus: str, end: Sample) -> Sequence[Sample]:
    """Return large bodies, one that is nested too deeply for the listener, and dense ones."""
    large = end._replace(body={"large": "x" * LARGE})
    huge = large._replace(outcome="error", reason="too-large", body=b"x" * HUGE)
    dense = huge._replace(reason="too-costly", body=DENSE)
    deep = unread(bus, "not-json", end._replace(body=b"[" * DEEP))
    if bus == "fedora":
        deep = deep._replace(outcome="error", reason="kills-consumer")
    monsters = [large, huge, dense, deep]
    return monsters + ENCODED if bus == "fedora" else monsters


def unread(bus: str, reason: str, sample: Sample) -> Sample:
    """Return a message whose body is no JSON object; with one the consumer of CentOS raises."""
    outcome = ("error", "rule-raises") if bus == "centos" else ("invalid", reason)
    return Sample(sample.topic, *outcome, sample.body)


def of_shape(name: str, bus: str, end: Sample) -> Sample:
    """Return a body as large as busmon reads it, with room for a number."""
    body = largest(lambda count: SHAPES[name](count) + " " * NUMBER).decode()
    sample = end._replace(body=body[:-NUMBER])
    return unread(bus, "not-object", sample) if body[0] == "[" else sample


@contextmanager
def monsters(stage: Stage, rng: random.Random) -> Iterator[Collection[str]]:
    for bus in BUSES:
        stream = stage.publishers[bus].stream
        with stage.quiet(bus):
            stream.publish_all(monsters_of(bus, stream.end))
            for name in rng.sample(sorted(SHAPES), OF_SHAPES):
                stream.publish_all([of_shape(name, bus, stream.end)])
    yield ()


FAULTS = [
    Fault("monsters", "messages", monsters, (0, 1), alone=True),  # it keeps the buses quiet
]
