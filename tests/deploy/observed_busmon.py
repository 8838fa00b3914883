"""A real busmon with traffic and all observers, with something wrong at each stage."""

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
from busmon.ledger.differences import Difference
from busmon.ledger.ledger import Ledger
from tests.ledger.past import past
from tests.samples import FEDORA, FEDORA_FILE
from tests.support.brokers import free_port
from tests.support.brokers.redis import Redis
from tests.support.busmon_process import Busmon
from tests.support.celery_worker import PROCESS_MESSAGE, CeleryWorker, make_app
from tests.support.pushgateway import Pushgateway

TOKEN = "t0ken-of-the-tap"
REPORT_SECONDS = 0.3  # between two reports of the tap
RATE = 40  # messages a second
HOUR = 3600
PREFIX = "org.fedoraproject.prod."
SILENT = PREFIX + "openscanhub.task.started"  # came twice an hour, then stopped
PAGES = "https://workers.packit.dev/busmon"  # where nobody goes
USUAL = PREFIX + "copr.build.end"  # came twice an hour until now


class Handled(NamedTuple):
    """A message that the listener should pass on, `due` seconds after the first one."""

    due: float
    id: str
    topic: str


@contextmanager
def observed_busmon(
    directory: Path, redis: Redis, gateway: Pushgateway, listener: str, seconds: float
) -> Iterator[Busmon]:
    """Run busmon with a bus that flows, one that is down, and a listener that loses messages."""
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
    text = busmon.configuration.read_text()
    busmon.configuration.write_text(text.replace("[web]", f'[web]\npublic_url = "{PAGES}/"'))
    busmon.configure(
        # Nothing answers there either, but there is a comparison on record.
        f'[archive]\nbus = "fedora"\nurl = "http://127.0.0.1:{free_port()}"\ncontact = "me@x"\n'
        '[silence]\nretired = { "*.pagure.*" = 2026-01-01 }\n'
        '[audit]\nwindow = "1s"\ngrace = "1s"\n'
        f'[audit.reports]\nbus = "fedora"\ntoken = "{TOKEN}"\n'
        f'[audit.ready]\nbus = "fedora"\nurl = "{listener}"\ninterval = "1s"\n'
        f'[audit.celery]\nbus = "fedora"\nbroker = "{redis.url}"\ninterval = "1s"\n'
        '[slo.all]\nbus = "fedora"\ntopics = ["*"]\nstage = "worker"\nwithin = "5s"\n'
        "objective = 0.98"
    )
    pushes = {"PUSHGATEWAY_ADDRESS": gateway.url, "HOSTNAME": "packit-worker-short-running-0"}
    worker = CeleryWorker(directory, redis, "--pool=solo", "-E", environment=pushes)
    stopping = Event()
    with worker, busmon:
        tap = Thread(target=_tap, args=(busmon.url, redis.url, handled, stopping))
        tap.start()
        try:
            yield busmon
        finally:
            stopping.set()
            tap.join()


def _traffic(path: Path, now: float, number: int) -> tuple[Path, Sequence[Handled]]:
    """Write a random sequence of recorded messages; return those that should be handled."""
    records = [json.loads(line) for line in FEDORA_FILE.read_text().splitlines()]
    samples = [
        (record, outcome)
        for record, (topic, outcome, _) in zip(records, FEDORA, strict=True)
        if topic != SILENT
    ]
    random = Random(1)
    weights = [1 / rank for rank in range(1, len(samples) + 1)]
    handled = []
    with path.open("w") as file:
        for place, (record, outcome) in enumerate(random.choices(samples, weights, k=number)):
            at = now + place / RATE - random.expovariate(1)
            sent = {"sent-at": datetime.fromtimestamp(at, UTC).isoformat()}
            new = {"id": str(uuid4()), "headers": record["headers"] | sent}
            if outcome == "handled":
                handled.append(Handled(place / RATE, new["id"], record["topic"]))
            file.write(json.dumps(record | new) + "\n")
    return path, handled


def _history(path: Path, now: float) -> None:
    """Write eight weeks of both topics to the ledger; one of them stopped six hours ago."""
    ledger = Ledger(str(path))
    hour = int(now // HOUR)
    for topic, last in ((SILENT, now - 6 * HOUR), (USUAL, now - 60)):
        hours = dict.fromkeys(range(hour - 8 * 7 * 24, int(last // HOUR)), 2)
        past(ledger, Series("fedora", topic, "handled", ""), hours, last)
    with ledger.write() as tables:
        day = int(now // HOUR) // 24 - 1
        tables.differences.save(Difference("fedora", USUAL, day, 48, 50, 0, 2))
    ledger.close()


def _tap(url: str, broker: str, handled: Sequence[Handled], stopping: Event) -> None:
    """Pass messages on and report them, as a listener with a tap does.

    Of fifteen messages, one is not passed on, and the tasks of two others are lost and fail.
    """
    app = make_app(broker)
    begin = time.monotonic()
    numbered = deque(enumerate(handled))
    with app.connection_for_write() as connection:
        for number_of_batch in count(1):
            reports = []
            while numbered and numbered[0][1].due < time.monotonic() - begin:
                number, message = numbered.popleft()
                task = str(uuid4())
                if number % 15 == 0:
                    continue
                if number % 15 != 7:
                    do = "fail" if number % 15 == 3 else "do"
                    app.send_task(PROCESS_MESSAGE, (do,), task_id=task, connection=connection)
                report = {"id": message.id, "topic": message.topic, "state": "passed"}
                reports.append(report | {"task": task})
            batch = {"tap": "the tap", "seq": number_of_batch, "bus": "fedora", "lost": 0}
            _post(
                f"{url}/v1/reports",
                batch | {"since": 2 * REPORT_SECONDS, "until": 0.0, "reports": reports},
            )
            if stopping.wait(REPORT_SECONDS):
                return


def _post(url: str, batch: object) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    with urlopen(Request(url, json.dumps(batch).encode(), headers), timeout=5) as answer:
        answer.read()
