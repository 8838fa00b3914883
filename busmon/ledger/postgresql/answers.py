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
    """A connection that waits `patience` seconds for the answer to a statement.

    If another thread sets `given_up`, it waits no longer, also for a statement in progress.
    """

    patience = 5.0
    given_up = False

    def wait(self, gen: PQGen[T], *_: Any, **__: Any) -> T:
        """See Connection.wait, which has no limit in each version of psycopg."""
        try:
            return super().wait(self._bounded(gen), INTERVAL)
        except NoAnswer:
            self.close()
            raise

    def _bounded(self, gen: PQGen[T]) -> PQGen[T]:
        """Yield what a generator of psycopg yields, but end it when the patience is over."""
        began = time.monotonic()
        try:
            waits_for = next(gen)
            while True:
                ready = yield waits_for
                waited = time.monotonic() - began
                if not ready and (self.given_up or waited > self.patience):
                    raise NoAnswer(f"no answer for {waited:.0f} s")
                waits_for = gen.send(ready)
        except StopIteration as done:
            result: T = done.value
            return result
