"""A source at work in a thread of its own, and what counts what it receives."""

import itertools
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from busmon.ledger.errors import LedgerWriteError
from busmon.message import Message
from busmon.pipeline import Pipeline
from busmon.sources.base import Source
from tests.support.brokers import wait_until

S = TypeVar("S", bound=Source)
Record = Callable[[Sequence[Any]], None]


class Recorder:
    """Counts as the ledger does: a known id is a duplicate, unless only its digest is the same."""

    def __init__(self) -> None:
        self.counted: list[Message] = []
        self.duplicates = 0
        self.failing = False  # records nothing
        self.crashing = False  # records, but the source gets an error
        self._known: set[str] = set()

    def __call__(self, batch: Sequence[Message]) -> None:
        if self.failing:
            raise LedgerWriteError("disk full")
        assert batch
        for message in batch:
            if message.id in self._known and (message.redelivered or not message.digest_id):
                self.duplicates += 1
            else:
                self._known.add(message.id)
                self.counted.append(message)
        if self.crashing:
            raise LedgerWriteError("crash")

    def numbers(self) -> Counter[int]:
        return Counter(message.get("n") for message in self.counted)

    def wait_for(self, total: int) -> None:
        """Wait for a number of messages. The test must compare if there are more."""
        wait_until(lambda: len(self.counted) >= total, what=f"{total} messages")


class Failing(Recorder):
    """Records nothing at each fourth call."""

    def __init__(self) -> None:
        super().__init__()
        self._calls = itertools.count(1)

    def __call__(self, batch: Sequence[Message]) -> None:
        if next(self._calls) % 4 == 0:
            raise LedgerWriteError("disk full")
        super().__call__(batch)


class Gate:
    """Hands batches on while it is open; before that, each waits."""

    def __init__(self, record: Record) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()
        self._record = record

    def __call__(self, batch: Sequence[Message]) -> None:
        self.reached.set()
        assert self.open.wait(60)
        self._record(batch)


class AsTheyAre:
    """Judges nothing, and gives each batch of messages to `record`."""

    def __init__(self, record: Record) -> None:
        self.record = record

    def judge(self, message: Message) -> Any:
        return message

    def check(self) -> None:
        if getattr(self.record, "failing", False):
            raise LedgerWriteError("disk full")


def failing_once(record: Record, what: str, at: int = 0) -> AsTheyAre:
    """Return a handler with a bug: its `judge` or `record` raises at one call."""
    handler, calls = AsTheyAre(record), itertools.count()
    right = getattr(handler, what)

    def buggy(given: Any) -> Any:
        if next(calls) == at:
            raise RuntimeError("a bug")
        return right(given)

    setattr(handler, what, buggy)
    return handler


def count(pipeline: Pipeline, messages: Iterable[Message]) -> None:
    """Judge and record a batch, as a source does."""
    pipeline.record([pipeline.judge(message) for message in messages])


@contextmanager
def running(source: S, handler: Record | AsTheyAre, *, connected: bool = True) -> Iterator[S]:
    handler = handler if isinstance(handler, AsTheyAre) else AsTheyAre(handler)
    thread = threading.Thread(target=source.run, args=(handler,))
    thread.start()
    try:
        if connected:
            wait_until(lambda: source.connection.connected, what="the source to be connected")
        yield source
    finally:
        source.stop()
        thread.join(60)
        assert not thread.is_alive()
    assert source.connection.problem() == "stopped"


def wait_for_problem(source: Source, expected: str) -> None:
    """Wait until the source has this problem; `*` stands for words of a library."""
    pattern = re.compile(".*".join(re.escape(part) for part in expected.split("*")))
    try:
        wait_until(lambda: pattern.fullmatch(source.connection.problem() or ""), what=expected)
    except AssertionError as error:
        error.add_note(f"problem: {source.connection.problem()}")
        raise


def once(total: int) -> Counter[int]:
    return Counter(range(total))
