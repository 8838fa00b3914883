"""Streams of messages, and what busmon must count of them."""

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count, cycle, islice
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

from tests.samples import CENTOS, CENTOS_FILE, FEDORA, FEDORA_FILE
from tests.support.brokers import wait_until
from tests.support.busmon_process import Busmon
from tests.support.exposition import Series

FEDORA_TOPIC = "org.fedoraproject.prod."
CHUNK = 100  # messages that a publisher sends at once
BLANKS = str.maketrans("01", " \t")
PAUSE = 0.3  # seconds between them in `publishing`


class Sample(NamedTuple):
    """A message to publish repeatedly, and how busmon must judge it.

    Bytes get a number behind them, and text, which is JSON, one that JSON does not see.
    """

    topic: str
    outcome: str
    reason: str
    body: Any
    headers: Mapping[str, Any] = {}
    encoding: str = "utf-8"

    def numbered(self, number: int) -> bytes:
        """Return the body with a number in it, so that no two messages are the same."""
        if isinstance(self.body, bytes):
            return self.body + b"%d" % number
        if isinstance(self.body, str):  # JSON
            return self.body.encode() + f"{number:b}".translate(BLANKS).encode()
        if isinstance(self.body, dict):
            return json.dumps(self.body | {"number": number}).encode()
        return json.dumps([*self.body, number]).encode()


END = Sample("the.end", "unmapped", "", {})


def recorded(file: Path, table: Iterable[tuple[str, str, str]]) -> list[Sample]:
    records = map(json.loads, file.read_text().splitlines())
    return [
        Sample(*row, record.get("body", record.get("payload")), record.get("headers", {}))
        for row, record in zip(table, records, strict=True)
    ]


def unreadable(topic: str) -> list[Sample]:
    """Bodies that a listener never sees."""
    return [
        Sample(topic, "invalid", "not-utf8", b"\xff"),
        Sample(topic, "invalid", "not-json", b"{"),
        Sample(topic, "invalid", "not-object", []),
    ]


COPR = FEDORA_TOPIC + "copr.build.end"
FROM_FEDORA = [
    *recorded(FEDORA_FILE, FEDORA),
    *unreadable(COPR),
    Sample(COPR, "invalid", "schema", {"build": 1}, {"fedora_messaging_schema": "copr.build.end"}),
    Sample(COPR, "error", "kills-consumer", {}, encoding="no-such-encoding"),
]
# STOMP has no headers of fedora-messaging that could be wrong.
FROM_FEDORA_BY_STOMP = [
    *(s for s in recorded(FEDORA_FILE, FEDORA) if s.reason not in {"headers", "kills-consumer"}),
    *unreadable(COPR),
]
FROM_CENTOS = [
    *recorded(CENTOS_FILE, CENTOS),
    *(
        sample._replace(outcome="error", reason="rule-raises")
        for sample in unreadable("git.centos.org/pull-request.new")
    ),
]
FOR_A_LISTENERS_OWN_CODE = [
    Sample("builds", "handled", "", {"user": "packit"}),
    Sample("builds", "ignored", "not-passed", {"user": "alice"}),
    Sample("builds", "error", "rule-raises", {}),
    Sample("everything", "handled", "", {}),
    Sample("unknown", "unmapped", "", {}),
    *unreadable("everything"),
]

Send = Callable[[Sequence[tuple[Sample, bytes]]], object]


class Stream:
    """Publishes samples to one bus in turn, and adds up what busmon must count."""

    def __init__(self, bus: str, samples: Sequence[Sample], end: Sample, send: Send) -> None:
        self.bus = bus
        self.expected: Counter[Series] = Counter()
        self.end = end
        self._turn = cycle(samples)
        self._numbers = count()
        self._send = send

    def publish(self, number: int) -> None:
        """Publish so many messages in chunks; on return the broker has them."""
        for start in range(0, number, CHUNK):
            self.publish_all(list(islice(self._turn, min(CHUNK, number - start))))

    def publish_all(self, samples: Sequence[Sample]) -> None:
        """Publish just these."""
        self._send([(sample, sample.numbered(next(self._numbers))) for sample in samples])
        self.expected.update(map(self._series, samples))

    def finish(self) -> Series:
        """Publish a message that comes after all others, and return its series."""
        self.publish_all([self.end])
        return self._series(self.end)

    def _series(self, sample: Sample) -> Series:
        return self.bus, sample.topic, sample.outcome, sample.reason


def assert_exact(busmon: Busmon, streams: Iterable[Stream]) -> None:
    """End the streams, and check that each series of their buses has what was published."""
    last = [stream.finish() for stream in streams]
    expected = sum((stream.expected for stream in streams), Counter[Series]())
    busmon.wait_until_counted(expected, last)


def publish(streams: Iterable[Stream], number: int) -> None:
    """Publish so many messages to each bus, in parallel."""
    with ThreadPoolExecutor() as threads:
        for _ in threads.map(lambda stream: stream.publish(number), streams):
            pass


@contextmanager
def publishing(streams: Iterable[Stream]) -> Iterator[None]:
    """Publish to each bus, in parallel, from the start of the block until after its end."""
    ended = Event()

    def publish_on(stream: Stream) -> None:
        while not ended.wait(PAUSE):
            stream.publish(CHUNK)
        stream.publish(CHUNK)

    with ThreadPoolExecutor() as threads:
        all_published = [threads.submit(publish_on, stream) for stream in streams]
        try:
            yield
        finally:
            ended.set()
            for future in all_published:
                future.result()  # its error explains the one of the block


@contextmanager
def in_mid_stream(
    busmon: Busmon, streams: Sequence[Stream], needed: Callable[[Iterable[bool]], bool]
) -> Iterator[None]:
    """Begin the block when messages of `all` buses, or of `any`, have been counted.

    More of them are published meanwhile, and some after the block.
    """
    before = by_bus(busmon.counts())

    def counting() -> bool:
        now = by_bus(busmon.counts())
        return needed(now[stream.bus] > before[stream.bus] for stream in streams)

    with publishing(streams):
        try:
            wait_until(counting, what="messages to be counted")
        except AssertionError as error:
            error.add_note(f"counted before: {before}, now: {by_bus(busmon.counts())}")
            error.add_note("\n".join(busmon.ask("/ready")[1]))
            raise
        yield


def by_bus(counts: Mapping[Series, int]) -> Counter[str]:
    total: Counter[str] = Counter()
    for (bus, *_), messages in counts.items():
        total[bus] += messages
    return total


@contextmanager
def standing_still(busmon: Busmon) -> Iterator[None]:
    """Suspend busmon, so that the brokers have more than it has taken."""
    os.kill(busmon.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(busmon.pid, signal.SIGCONT)
