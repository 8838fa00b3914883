"""Expensive answers: one is computed at a time, and those who wait for the same one share it."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future

from busmon.web.http import Response

MAX_REQUESTS = 64  # that wait for an answer, or compute one


class Busy(Exception):
    """Too many requests wait for an answer already."""


class Sharing:
    """Limits what many requests at once cost. Thread-safe.

    No request gets an answer that is older than the request: whoever asks while an answer is
    computed waits for the next one, with all others who do.
    """

    def __init__(self) -> None:
        self._computing = threading.Lock()
        self._changing = threading.Lock()  # never held while something waits
        self._waiting: dict[Hashable, Future[Response]] = {}  # not begun yet
        self._requests = 0

    def respond(self, key: Hashable, compute: Callable[[], Response]) -> Response:
        """Return what `compute` returns to one of those who ask for `key`, or raise what it raises.

        Raises Busy if too many wait already.
        """
        with self._changing:
            if self._requests >= MAX_REQUESTS:
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
