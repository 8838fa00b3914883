"""A real busmon with traffic, with observers that see, and with something wrong at each hop."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from threading import Event, Thread
from urllib.request import Request, urlopen
from uuid import uuid4

from busmon.ledger import Ledger, Series
from tests.brokers import free_port
from tests.busmon_process import Busmon
from tests.ledgers import past
from tests.samples import FEDORA, FEDORA_FILE

TOKEN = "t0ken-of-the-tap"
BEAT = 0.3  # seconds between two reports of the tap
RATE = 40  # messages a second
ROUNDS = 60  # of the recorded messages, which is half a minute of traffic
HOUR, DAY = 3600, 86400
PREFIX = "org.fedoraproject.prod."
SILENT = PREFIX + "openscanhub.task.started"  # came twice an hour, and then no more
USUAL = PREFIX + "copr.build.end"


@contextmanager
def observed_busmon(directory: Path, redis: str, listener: str) -> Iterator[Busmon]:
    """Run one on a bus that flows and one that is cut, beside a tap that leaves messages out."""
    now = time.time()
    messages, handled = _traffic(directory / "recorded.jsonl", now)
    _history(directory / "ledger.sqlite", now)
    buses = {
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
    with (directory / "busmon.toml").open("a") as file:
        file.write(
            '\n[audit]\nwindow = "1s"\ngrace = "1s"\n'
            f'[audit.reports]\nbus = "fedora"\ntoken = "{TOKEN}"\n'
            f'[audit.ready]\nbus = "fedora"\nurl = "{listener}"\ninterval = "1s"\n'
            f'[audit.celery]\nbus = "fedora"\nbroker = "{redis}"\ninterval = "1s"\n'
        )
    stopping = Event()
    with busmon:
        tap = Thread(target=_tap, args=(busmon.url, handled, stopping))
        tap.start()
        try:
            yield busmon
        finally:
            stopping.set()
            tap.join()


def _traffic(path: Path, now: float) -> tuple[Path, Mapping[str, str]]:
    """Write the recorded messages again and again, and return which of them are to be handled."""
    records = [json.loads(line) for line in FEDORA_FILE.read_text().splitlines()]
    sent = {"sent-at": datetime.fromtimestamp(now, UTC).isoformat()}
    handled = {}
    with path.open("w") as file:
        for _ in range(ROUNDS):
            for record, (topic, outcome, _) in zip(records, FEDORA, strict=True):
                identity = str(uuid4())
                headers = record["headers"] | sent
                if topic == SILENT:
                    continue
                if outcome == "handled":
                    handled[identity] = topic
                file.write(json.dumps(record | {"id": identity, "headers": headers}) + "\n")
    return path, handled


def _history(path: Path, now: float) -> None:
    """Let both topics have come for eight weeks; one of them ended nine days ago."""
    ledger = Ledger(str(path))
    hour = int(now // HOUR)
    for topic, last in ((SILENT, now - 9 * DAY), (USUAL, now - 60)):
        hours = dict.fromkeys(range(hour - 8 * 7 * 24, int(last // HOUR)), 2)
        past(ledger, Series("fedora", topic, "handled", ""), hours, last)
    ledger.close()


def _tap(url: str, handled: Mapping[str, str], stopping: Event) -> None:
    """Report as the listener's tap does; of ten messages one is not passed on."""
    reports = [
        {"id": identity, "topic": topic, "state": "passed", "task": str(uuid4())}
        for number, (identity, topic) in enumerate(handled.items())
        if number % 10
    ]
    for number in count(1):
        size = int(RATE * BEAT) + 1
        part = reports[(number - 1) * size : number * size]
        batch = {"tap": "the tap", "seq": number, "bus": "fedora", "lost": 0, "reports": part}
        batch |= {"since": BEAT, "until": 0.0}
        request = Request(
            f"{url}/v1/reports",
            json.dumps(batch).encode(),
            {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        )
        with urlopen(request, timeout=5) as answer:
            answer.read()
        if stopping.wait(BEAT):
            return
