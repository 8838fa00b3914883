"""CPU time, compared with that of a known task in the same thread, so that slow machines pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import thread_time

import jsonschema

KNOWN_TASK = jsonschema.Draft4Validator({"items": {"type": "string"}}), [""] * 2_000
KNOWN_SECONDS = 0.011  # of the known task, on an idle machine and without coverage


@contextmanager
def cpu_time_at_most(seconds: float, what: str = "") -> Iterator[None]:
    """Fail when the body takes more CPU time than an idle machine needs in these seconds."""
    started = thread_time()
    yield
    taken = thread_time() - started
    if taken >= seconds:
        slow = slowness()
        assert taken / slow < seconds, f"{what} {taken:.2f} s on a machine {slow:.1f} times as slow"


def slowness() -> float:
    """Return how many times as long as on an idle machine this thread takes now."""
    validator, items = KNOWN_TASK
    started = thread_time()
    assert validator.is_valid(items)
    return (thread_time() - started) / KNOWN_SECONDS
