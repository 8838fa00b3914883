"""A connection that does not wait for ever: a server can hang, or a network can swallow all."""

import time
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.rows import TupleRow

INTERVAL = 0.1  # seconds between two looks at the time; an answer is seen at once

T = TypeVar("T")


class NoAnswer(psycopg.OperationalError):
    """The server has not answered in time. The connection is closed."""


class BoundedConnection(psycopg.Connection[TupleRow]):
    """A connection that waits `patience` seconds for the answer to a statement."""

    patience = 5.0

    def wait(self, gen: PQGen[T], *_: Any, **__: Any) -> T:
        """See Connection.wait, which has no limit in each version of psycopg."""
        try:
            return super().wait(_bounded(gen, self.patience), INTERVAL)
        except NoAnswer:
            self.close()
            raise


def _bounded(gen: PQGen[T], seconds: float) -> PQGen[T]:
    """Yield what a generator of psycopg yields, but end it after some seconds of waiting."""
    end = time.monotonic() + seconds
    try:
        waits_for = next(gen)
        while True:
            ready = yield waits_for
            if not ready and time.monotonic() > end:
                raise NoAnswer(f"no answer for {seconds:g} s")
            waits_for = gen.send(ready)
    except StopIteration as done:
        result: T = done.value
        return result
