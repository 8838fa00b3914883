"""busmon under a clock that the tests move: `python -m …fast_clock PORT START run -c FILE`.

All threads of busmon wait by `Event.wait`. Here such a wait ends when the tests have moved the
clock to its end, so hours pass in seconds, and what a thread does takes no time at all. No name of
busmon is replaced: only the clock and the waiting, both Python's own. libfaketime cannot do this,
since it does not know how Python 3.11 waits (sem_clockwait).

Each byte on the connection to PORT stands for STEP seconds, and is sent back when they are over.
"""

import socket
import sys
import threading
import time
from typing import NamedTuple, Self

from tests.support.busmon_process import Busmon

STEP = 5.0  # seconds
PATIENCE = 30.0  # real seconds that a thread may take from one wait to its next one
MONOTONIC = (time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME)

_clock_gettime, _monotonic = time.clock_gettime, time.monotonic
_wait, _set = threading.Event.wait, threading.Event.set


class Waiting(NamedTuple):
    """A thread that waits for an event."""

    until: float
    event: threading.Event
    woken: threading.Condition


class MovedClock:
    """A clock that stands still until `advance`."""

    def __init__(self, now: float) -> None:
        self._now = now  # Unix time
        self._lock = threading.Lock()
        self._settled = threading.Condition(self._lock)
        self._working: set[threading.Thread] = set()  # that were woken, and do not wait again yet
        self._waiting: dict[threading.Thread, Waiting] = {}

    def time(self) -> float:
        return self._now

    def clock_gettime(self, clock: int) -> float:
        return self._now if clock in {time.CLOCK_REALTIME, *MONOTONIC} else _clock_gettime(clock)

    def wait(self, event: threading.Event, timeout: float) -> bool:
        thread = threading.current_thread()
        with self._lock:
            waiting = Waiting(self._now + timeout, event, threading.Condition(self._lock))
            self._waiting[thread] = waiting
            self._working.discard(thread)
            self._settled.notify()
            while not event.is_set() and self._now < waiting.until:
                waiting.woken.wait()
            del self._waiting[thread]
        return event.is_set()

    def set(self, event: threading.Event) -> None:
        with self._lock:
            for waiting in self._waiting.values():
                if waiting.event is event:
                    waiting.woken.notify()

    def advance(self, seconds: float) -> None:
        """Let each wait end that ends in these seconds, in the order of their ends."""
        with self._lock:
            until = self._now + seconds
            while True:
                self._settle()
                end = min((one.until for one in self._waiting.values()), default=until)
                self._now = max(self._now, min(end, until))
                if end > until:
                    break
                for thread, one in self._waiting.items():
                    if one.until <= self._now:
                        self._working.add(thread)
                        one.woken.notify()
            self._now = until

    def _settle(self) -> None:
        """Wait until every thread that was woken waits again, or has ended."""
        end = _monotonic() + PATIENCE
        while self._working:
            self._settled.wait(0.05)  # since nothing reports the end of a thread
            self._working = {thread for thread in self._working if thread.is_alive()}
            if _monotonic() > end:
                names = ", ".join(thread.name for thread in self._working)
                raise TimeoutError(f"no wait since {PATIENCE:g} s: {names}")

    def threads(self) -> int:
        """Return how many threads wait."""
        return len(self._waiting)


class FastBusmon(Busmon):
    """A busmon of which the tests move the clock."""

    def under_clock(self, start: float) -> None:
        """Let it start at this Unix time."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE)
        port = self._listener.getsockname()[1]
        python, _, _, *arguments = self.argv  # PYTHON -m busmon …
        self.argv = [python, "-m", "tests.support.fast_clock", str(port), str(start), *arguments]

    def start(self) -> Self:
        """See Server; then take control of its clock."""
        super().start()
        with self._listener:
            self._connection, _ = self._listener.accept()
        self._connection.settimeout(2 * PATIENCE)
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()
        super().__exit__(*error)

    def step(self) -> None:
        """Move its clock by STEP seconds."""
        self._connection.sendall(b".")
        assert self._connection.recv(1), self.output()


def main() -> None:
    port, start, *arguments = sys.argv[1:]
    clock = MovedClock(float(start))

    def wait(event: threading.Event, timeout: float | None = None) -> bool:
        return _wait(event) if timeout is None else clock.wait(event, timeout)

    def set_(event: threading.Event) -> None:
        _set(event)
        clock.set(event)

    time.time = time.monotonic = clock.time
    time.clock_gettime = clock.clock_gettime
    # The methods of Python themselves, so that no name of busmon is replaced.
    setattr(threading.Event, "wait", wait)  # noqa: B010 - mypy refuses an assignment
    setattr(threading.Event, "set", set_)  # noqa: B010 - as above
    threading.Thread(target=_obey, args=(clock, int(port)), name="clock", daemon=True).start()
    from busmon.cli.main import main as busmon  # only now, so that all of it sees this clock

    busmon(arguments, prog_name="busmon")


def _obey(clock: MovedClock, port: int) -> None:
    threads = -1
    while not threads == clock.threads() > 5:  # until all have started
        threads = clock.threads()
        time.sleep(0.2)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        while connection.recv(1):
            clock.advance(STEP)
            connection.sendall(b".")


if __name__ == "__main__":
    main()
