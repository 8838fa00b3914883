"""Parts of a service at work in threads of their own."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from busmon.threads import Threads


@contextmanager
def running(*runs: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run these meanwhile. None may die, and all must end within 10 seconds."""
    threads = Threads()
    for run in runs:
        threads.add(run.__qualname__, run)
    threads.start(threading.Event())
    try:
        yield
    finally:
        assert threads.stop(10)
    assert threads.problem() is None
