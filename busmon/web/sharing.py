"""Expensive answers: one is computed at a time, and those who wait for the same one share it."""

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future

from busmon.threads import FairLock
from busmon.web.http import Response

MAX_PAUSE = 2.0  # seconds
MAX_REQUESTS = 64  # that wait for an answer, or compute one

_never = threading.Event()  # to wait for it is to sleep by a clock that nobody can set


class Busy(Exception):
    """Too many requests wait for an answer already."""


class Sharing:
    """Limits what many requests cost. Thread-safe.

    After each answer there is a pause, `pause` times as long as the answer took of a CPU, but at
    most `MAX_PAUSE` seconds: so however many ask, the rest of the process has the CPU.

    No request gets an answer that is older than the request: whoever asks while an answer is
    computed waits for the next one, with all others who do.
    """

    def __init__(
        self,
        pause: float = 0.0,
        sleep: Callable[[float], object] = _never.wait,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pause, self._sleep, self._clock = pause, sleep, clock
        self._next = 0.0  # when the next answer may begin
        self._computing = FairLock()
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
                    self._sleep(max(0.0, self._next - self._clock()))
                    began = time.thread_time()
                    with self._changing:
                        del self._waiting[key]  # who asks from now on waits for a newer one
                    try:
                        answer.set_result(compute())
                    except BaseException as error:  # noqa: BLE001 - raised to all of them
                        answer.set_exception(error)
                    pause = self._pause * (time.thread_time() - began)
                    self._next = self._clock() + min(pause, MAX_PAUSE)
            return answer.result()
        finally:
            with self._changing:
                self._requests -= 1
