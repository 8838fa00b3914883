"""A source at work in a thread of its own, and who counts what it receives."""

import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from busmon.message import Message
from busmon.sources import Handle, NotRecorded, Source
from tests.brokers import wait_until

S = TypeVar("S", bound=Source)


class Recorder:
    """Counts as the ledger does: a known id is a duplicate, unless only its digest is the same."""

    def __init__(self) -> None:
        self.counted: list[Message] = []
        self.duplicates = 0
        self.failing = False  # records nothing
        self.crashing = False  # records, but the source never learns of it
        self._known: set[str] = set()

    def __call__(self, batch: Iterable[Message]) -> None:
        if self.failing:
            raise NotRecorded("disk full")
        assert batch
        for message in batch:
            if message.id in self._known and (message.redelivered or not message.digest_id):
                self.duplicates += 1
            else:
                self._known.add(message.id)
                self.counted.append(message)
        if self.crashing:
            raise NotRecorded("crash")

    def numbers(self) -> Counter[int]:
        return Counter(message.get("n") for message in self.counted)

    def wait_for(self, total: int) -> None:
        """Wait for a number of messages; more are shown by what the test compares next."""
        wait_until(lambda: len(self.counted) >= total, what=f"{total} messages")


@contextmanager
def running(source: S, handle: Handle, *, connected: bool = True) -> Iterator[S]:
    thread = threading.Thread(target=source.run, args=(handle,))
    thread.start()
    try:
        if connected:
            wait_until(lambda: source.link.connected, what="the source to be connected")
        yield source
    finally:
        source.stop()
        thread.join(5)
        assert not thread.is_alive()
    assert source.link.problem() == "stopped"


def wait_for_problem(source: Source, expected: str) -> None:
    """Wait until the source tells it; `*` is for the words that are not busmon's own."""
    pattern = re.compile(".*".join(re.escape(part) for part in expected.split("*")))
    try:
        wait_until(lambda: pattern.fullmatch(source.link.problem() or ""), 20, expected)
    except AssertionError as error:
        error.add_note(f"it told: {source.link.problem()}")
        raise


def once(total: int) -> Counter[int]:
    return Counter(range(total))
