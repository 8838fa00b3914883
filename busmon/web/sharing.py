"""Expensive answers: one is computed at a time, and those who wait for the same one share it."""

import threading
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future

from prometheus_client.core import Metric

from busmon.metrics.families import counter
from busmon.web.http import Response

MAX_REQUESTS = 64  # that wait for an answer, or compute one


class Busy(Exception):
    """Too many requests wait for an answer already."""


class Sharing:
    """Limits what many requests at once cost. Thread-safe; a collector of the refused ones.

    No request gets an answer that is older than the request: whoever asks while an answer is
    computed waits for the next one, with all others who do.
    """

    def __init__(self) -> None:
        self._computing = threading.Lock()
        self._changing = threading.Lock()  # never held while something waits
        self._waiting: dict[Hashable, Future[Response]] = {}  # not begun yet
        self._requests = 0
        self._refused = 0

    def collect(self) -> Iterator[Metric]:
        """Yield how many requests were refused since the start."""
        yield counter(
            "busmon_web_refused_requests_total",
            "Requests that were refused because too many others waited for an answer.",
            [],
            [((), self._refused)],
        )

    def respond(self, key: Hashable, compute: Callable[[], Response]) -> Response:
        """Return what `compute` returns to one of those who ask for `key`, or raise what it raises.

        Raises Busy if too many wait already.
        """
        with self._changing:
            if self._requests >= MAX_REQUESTS:
                self._refused += 1
                raise Busy
            self._requests += 1
            answer = self._waiting.setdefault(key, Future())
        try:
            with self._computing:
                if not answer.done():
                    with self._changing:
                        del self._waiting[key]  # who asks from now on waits for a newer one
                    try:
                        answer.set_result(compute())
                    except BaseException as error:  # noqa: BLE001 - raised to all of them
                        answer.set_exception(error)
            return answer.result()
        finally:
            with self._changing:
                self._requests -= 1
