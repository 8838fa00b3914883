"""A real busmon with traffic, with observers that see, and with something wrong at each stage."""

import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any, NamedTuple
from urllib.request import Request, urlopen
from uuid import uuid4

from busmon.ledger.batch import Series
from busmon.ledger.ledger import Ledger
from tests.ledger.past import past
from tests.samples import FEDORA, FEDORA_FILE
from tests.support.brokers import free_port
from tests.support.brokers.redis import Redis
from tests.support.busmon_process import Busmon
from tests.support.celery_worker import PROCESS_MESSAGE, CeleryWorker, make_app

TOKEN = "t0ken-of-the-tap"
BEAT = 0.3  # seconds between two reports of the tap
RATE = 40  # messages a second
HOUR = 3600
PREFIX = "org.fedoraproject.prod."
SILENT = PREFIX + "openscanhub.task.started"  # came twice an hour, and then no more
USUAL = PREFIX + "copr.build.end"


class Handled(NamedTuple):
    """A message that the listener is to pass on, so many seconds after the first one."""

    due: float
    id: str
    topic: str


@contextmanager
def observed_busmon(directory: Path, listener: str, seconds: float) -> Iterator[Busmon]:
    """Run one on a bus that flows and one that is cut, with a listener that leaves messages out."""
    redis = Redis(directory)
    now = time.time()
    messages, handled = _traffic(directory / "recorded.jsonl", now, int(seconds * RATE))
    _history(directory / "ledger.sqlite", now)
    buses: dict[str, dict[str, Any]] = {
        "fedora": {
            "type": "replay",
            "rules": "packit",
            "files": [str(messages)],
            "rate": RATE,
        },
        "centos": {
            "type": "mqtt",
            "rules": "centos",
            "url": f"mqtt://127.0.0.1:{free_port()}",  # where nothing listens
            "client_id": "busmon",
            "topics": ["git.centos.org/#"],
        },
    }
    busmon = Busmon(directory, buses)
    busmon.configure(
        '[audit]\nwindow = "1s"\ngrace = "1s"\n'
        f'[audit.reports]\nbus = "fedora"\ntoken = "{TOKEN}"\n'
        f'[audit.ready]\nbus = "fedora"\nurl = "{listener}"\ninterval = "1s"\n'
        f'[audit.celery]\nbus = "fedora"\nbroker = "{redis.url}"\ninterval = "1s"'
    )
    options = ("--pool=solo", "--without-gossip", "--without-mingle", "-E")
    worker = CeleryWorker(directory, redis, *options)
    stopping = Event()
    with redis.server, worker, busmon:
        tap = Thread(target=_tap, args=(busmon.url, redis.url, handled, stopping))
        tap.start()
        try:
            yield busmon
        finally:
            stopping.set()
            tap.join()


def _traffic(path: Path, now: float, number: int) -> tuple[Path, Sequence[Handled]]:
    """Write recorded messages by chance, and return those that are to be handled."""
    records = [json.loads(line) for line in FEDORA_FILE.read_text().splitlines()]
    samples = [
        (record, outcome)
        for record, (topic, outcome, _) in zip(records, FEDORA, strict=True)
        if topic != SILENT
    ]
    chance = Random(1)
    weights = [1 / rank for rank in range(1, len(samples) + 1)]
    handled = []
    with path.open("w") as file:
        for place, (record, outcome) in enumerate(chance.choices(samples, weights, k=number)):
            at = now + place / RATE - chance.expovariate(1)
            sent = {"sent-at": datetime.fromtimestamp(at, UTC).isoformat()}
            new = {"id": str(uuid4()), "headers": record["headers"] | sent}
            if outcome == "handled":
                handled.append(Handled(place / RATE, new["id"], record["topic"]))
            file.write(json.dumps(record | new) + "\n")
    return path, handled


def _history(path: Path, now: float) -> None:
    """Let both topics have come for eight weeks; one of them ended six hours ago."""
    ledger = Ledger(str(path))
    hour = int(now // HOUR)
    for topic, last in ((SILENT, now - 6 * HOUR), (USUAL, now - 60)):
        hours = dict.fromkeys(range(hour - 8 * 7 * 24, int(last // HOUR)), 2)
        past(ledger, Series("fedora", topic, "handled", ""), hours, last)
    ledger.close()


def _tap(url: str, broker: str, handled: Sequence[Handled], stopping: Event) -> None:
    """Pass messages on and report that, as the listener with its tap does.

    Of fifteen messages one is not passed on, and of another one the task gets lost.
    """
    app = make_app(broker)
    begin = time.monotonic()
    numbered = deque(enumerate(handled))
    with app.connection_for_write() as connection:
        for beat in count(1):
            reports = []
            while numbered and numbered[0][1].due < time.monotonic() - begin:
                number, message = numbered.popleft()
                task = str(uuid4())
                if number % 15 == 0:
                    continue
                if number % 15 != 7:
                    app.send_task(PROCESS_MESSAGE, ("do",), task_id=task, connection=connection)
                report = {"id": message.id, "topic": message.topic, "state": "passed"}
                reports.append(report | {"task": task})
            batch = {"tap": "the tap", "seq": beat, "bus": "fedora", "lost": 0}
            _post(
                f"{url}/v1/reports", batch | {"since": 2 * BEAT, "until": 0.0, "reports": reports}
            )
            if stopping.wait(BEAT):
                return


def _post(url: str, batch: object) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    with urlopen(Request(url, json.dumps(batch).encode(), headers), timeout=5) as answer:
        answer.read()
