"""How long this machine stood still: what is timed meanwhile is no valid measurement."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PAUSE = 0.1  # seconds


@contextmanager
def watching_for_stalls() -> Iterator[Callable[[], float]]:
    """Yield what returns by how many seconds a thread has woken up too late, at the most."""
    ending, latest = threading.Event(), [0.0]

    def watch() -> None:
        before = time.monotonic()
        ended = False
        while not ended:
            ended = ending.wait(PAUSE)
            now = time.monotonic()
            latest[0] = max(latest[0], now - before - PAUSE)
            before = now

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield lambda: latest[0]
    finally:
        ending.set()
        watching.join()
