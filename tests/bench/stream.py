"""The streams of all benchmarks: recorded messages in their real sizes."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from busmon.message import Outcome
from tests.samples import CENTOS, CENTOS_FILE, FEDORA, FEDORA_FILE
from tests.support.brokers.rabbitmq import Publication

SMALLEST, TYPICAL, LARGEST = 300, 2_500, 25_000  # bytes of a body
HUGE, HUGE_EVERY = 100_000, 500
SPREAD = 1.0  # of the logarithm of the sizes


class _Recorded(NamedTuple):
    """A recorded message, with its body as text."""

    topic: str
    body: str
    headers: Mapping[str, Any]


def from_fedora(number: int, seed: int = 1) -> Iterator[Publication]:
    """Yield so many messages, the same for the same seed, each with an id of its own.

    Only those that `fedora-messaging consume` accepts: others end it, or it logs them.
    """
    rng = Random(seed)
    for recorded, body in _messages(FEDORA_FILE, FEDORA, number, rng):
        yield Publication(
            topic=recorded.topic,
            body=body,
            message_id=str(UUID(bytes=rng.randbytes(16), version=4)),
            headers=recorded.headers,
        )


def from_centos(number: int, seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """Yield so many topics and payloads, the same for the same seed, none twice."""
    for recorded, body in _messages(CENTOS_FILE, CENTOS, number, Random(seed)):
        yield recorded.topic, body


def _messages(
    file: Path, expected: Sequence[tuple[str, str, str]], number: int, rng: Random
) -> Iterator[tuple[_Recorded, bytes]]:
    records = [
        _Recorded(
            record["topic"],
            json.dumps(record.get("body", record.get("payload"))),
            record.get("headers", {}),
        )
        for record, (_, outcome, reason) in zip(
            map(json.loads, file.read_text().splitlines()), expected, strict=True
        )
        if outcome != Outcome.INVALID and reason != "kills-consumer"
    ]
    for position in range(number):
        recorded = rng.choice(records)
        huge = position % HUGE_EVERY == HUGE_EVERY - 1
        yield recorded, _body(recorded.body, HUGE if huge else _size(rng), position)


def _size(rng: Random) -> int:
    size = rng.lognormvariate(math.log(TYPICAL), SPREAD)
    return round(min(max(size, SMALLEST), LARGEST))


def _body(recorded: str, size: int, number: int) -> bytes:
    """Return a recorded object with more of its own kind in it, up to about this size."""
    copies = max(0, size // (len(recorded) + 2) - 1)
    more = ", ".join([recorded] * copies)
    return f'{recorded[:-1]}, "number": {number}, "more": [{more}]}}'.encode()
