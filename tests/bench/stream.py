"""The stream of all benchmarks: messages as recorded from Fedora's bus, in their real sizes."""

import json
import math
from collections.abc import Iterator
from random import Random
from typing import Any
from uuid import UUID

from busmon.message import Outcome
from tests.brokers.rabbitmq import Publication
from tests.samples import FEDORA, FEDORA_FILE

SMALLEST, TYPICAL, LARGEST = 200, 2_500, 25_000  # bytes of a body
HUGE, HUGE_EVERY = 100_000, 500
SPREAD = 1.0  # of the logarithm of the sizes


def publications(number: int, seed: int = 1) -> Iterator[Publication]:
    """Yield so many messages, the same for the same seed, each with an id of its own.

    Only those that `fedora-messaging consume` takes, since others would end it or cost it
    a log entry.
    """
    rng = Random(seed)
    records = _taken_by_the_listener()
    for position in range(number):
        record = rng.choice(records)
        size = HUGE if position % HUGE_EVERY == HUGE_EVERY - 1 else _size(rng)
        yield Publication(
            topic=record["topic"],
            body=_body(record["body"], size, rng),
            message_id=str(UUID(bytes=rng.randbytes(16), version=4)),
            headers=record["headers"],
        )


def _taken_by_the_listener() -> list[dict[str, Any]]:
    lines = FEDORA_FILE.read_text().splitlines()
    return [
        json.loads(line)
        for line, (_, outcome, reason) in zip(lines, FEDORA, strict=True)
        if outcome != Outcome.INVALID and reason != "kills-consumer"
    ]


def _size(rng: Random) -> int:
    size = rng.lognormvariate(math.log(TYPICAL), SPREAD)
    return round(min(max(size, SMALLEST), LARGEST))


def _body(recorded: dict[str, Any], size: int, rng: Random) -> bytes:
    """Return a recorded body with more of its own kind in it, up to about this size."""
    small = json.dumps(recorded | {"number": rng.getrandbits(32)})
    part = json.dumps(recorded)
    parts = ", ".join([part] * max(0, (size - len(small)) // (len(part) + 2)))
    return f'{small[:-1]}, "more": [{parts}]}}'.encode()
