"""The story: from 14:05 to 14:30 the listener hangs, and what comes then is lost.

Besides, now and then a task is lost, and a handler fails. One topic has been silent for hours.
"""

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from busmon.demo.bodies import FEDORA_SHARES
from busmon.ledger.batch import Series
from busmon.ledger.differences import Difference
from busmon.ledger.ledger import Ledger
from tests.ledger.past import past
from tests.samples import CENTOS_FILE, FEDORA, FEDORA_FILE

HOUR = 3600
DAY = datetime(2026, 9, 14, tzinfo=UTC).timestamp()  # a Monday
LOST = DAY + 14 * HOUR + 5 * 60, DAY + 14 * HOUR + 30 * 60
RATE = 1  # message a second
QUIET_SECONDS = 60  # at first, until each observer has connected: nothing is to be handled
HANDLED_SHARE = 0.15  # on the average, of the topics that can be ignored
CENTOS_RATE = 1 / 120
PREFIX = "org.fedoraproject.prod."
SILENT = PREFIX + "openscanhub.task.started"  # came twice an hour, then stopped
USUAL = PREFIX + "copr.build.end"
KNOWN = {topic for topic, *_ in FEDORA} - {SILENT}
WEIGHTS = {share.topic: share.weight for share in FEDORA_SHARES if share.topic in KNOWN}


class Made(NamedTuple):
    """A message of Fedora's bus."""

    at: float  # Unix time at which busmon receives it
    id: str
    topic: str
    outcome: str


class Fate(NamedTuple):
    """What becomes of a message that the listener receives."""

    passed: bool = True  # to the workers, and reported
    done: bool = True  # by a worker; if not, the task is lost
    failed: bool = False  # a handler


def fate(number: int, at: float, *, only_outage: bool) -> Fate | None:
    """Return what becomes of the message of this number; None if the listener hangs."""
    if LOST[0] <= at < LOST[1]:
        return None
    if only_outage:
        return Fate()
    return Fate(done=number % 150 != 77, failed=number % 60 == 40)


def write_traffic(folder: Path, begin: float, end: float) -> tuple[list[Path], list[Made]]:
    """Write the messages of both buses as recorded files; return these, and those of Fedora."""
    records: dict[tuple[str, str], list[dict[str, Any]]] = {}
    lines = FEDORA_FILE.read_text().splitlines()
    for line, (topic, outcome, _) in zip(lines, FEDORA, strict=True):
        records.setdefault((topic, outcome), []).append(json.loads(line))
    random = Random(1)
    chosen = random.choices(list(WEIGHTS), list(WEIGHTS.values()), k=int((end - begin) * RATE))
    fedora, centos, made = folder / "fedora.jsonl", folder / "centos.jsonl", []
    with fedora.open("w") as file:
        for number, any_topic in enumerate(chosen):
            quiet = number < QUIET_SECONDS * RATE
            topic = USUAL if quiet else any_topic
            at = begin + number / RATE
            share = (
                0
                if quiet
                else HANDLED_SHARE * (1 + 0.4 * math.sin(at / 1400) + 0.2 * math.sin(at / 410))
            )
            outcome = random.choices(("ignored", "invalid", "error"), (1, 0.005, 0.001))[0]
            if random.random() < share or (topic, outcome) not in records:
                outcome = "handled" if (topic, "handled") in records else "unmapped"
            record = random.choice(records[topic, outcome])
            sent = datetime.fromtimestamp(at - random.lognormvariate(-0.5, 0.9), UTC).isoformat()
            new = {
                "id": str(UUID(int=random.getrandbits(128), version=4)),
                "headers": record["headers"] | {"sent-at": sent},
            }
            made.append(Made(at, new["id"], topic, outcome))
            file.write(json.dumps(record | new) + "\n")
    lines = CENTOS_FILE.read_text().splitlines()
    number = int((end - begin) * CENTOS_RATE)
    centos.write_text("\n".join(random.choices(lines, k=number)) + "\n")
    return [fedora, centos], made


def write_history(path: Path, begin: float, *, silent: bool) -> None:
    """Write eight weeks of the topics to the ledger; one of them stopped, if `silent`."""
    ledger, hour = Ledger(str(path)), int(begin // HOUR)
    usual = {topic: round(HOUR * RATE * w / sum(WEIGHTS.values())) for topic, w in WEIGHTS.items()}
    for topic, number in {**usual, **({SILENT: 2} if silent else {})}.items():
        last = begin - (6 * HOUR if topic == SILENT else 60)
        hours = dict.fromkeys(range(hour - 8 * 7 * 24, int(last // HOUR)), number)
        past(ledger, Series("fedora", topic, "handled", ""), hours, last)
    with ledger.write() as tables:
        day = hour // 24 - 1
        tables.differences.save(Difference("fedora", USUAL, day, 48, 50, 0, 2))
    ledger.close()


def webhooks(begin: float, end: float) -> Iterator[float]:
    """Yield when GitHub's webhooks come that become events: four a minute."""
    random, at = Random(2), begin
    while (at := at + random.expovariate(4 / 60)) < end:
        yield at


def uuids(seed: int) -> Iterator[str]:
    random = Random(seed)
    while True:
        yield str(UUID(int=random.getrandbits(128), version=4))
