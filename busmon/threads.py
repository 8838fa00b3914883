"""Named, supervised threads: one that dies is reported and ends the process; and a fair lock."""

import logging
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait

log = logging.getLogger(__name__)


def stack(name: str) -> str:
    """Return what the thread of this name does now: its calls, the last one at the end."""
    # Python's documentation of `sys` has it, for debugging threads that hang, and nothing else
    # gives the stack of another thread as a value: faulthandler writes to a file only.
    # tests/faults/test_hung.py fails if it changes.
    frames = sys._current_frames()  # noqa: SLF001 - see above
    named = (thread for thread in threading.enumerate() if thread.name == name)
    found = (frames[thread.ident] for thread in named if thread.ident in frames)
    return "".join(line for frame in found for line in traceback.format_stack(frame))


def call_in_thread(
    name: str, call: Callable[[], None], stopping: threading.Event, timeout: float
) -> None:
    """Call it in a thread, and raise what it raises. At its end, `stopping` is set.

    If it has not ended `timeout` seconds after `stopping`, it is left behind, whatever hangs.
    """
    ended: Future[None] = Future()

    def run() -> None:
        try:
            call()
            ended.set_result(None)
        except BaseException as error:  # noqa: BLE001 - raised to the caller
            ended.set_exception(error)
        finally:
            stopping.set()

    threading.Thread(target=run, name=name, daemon=True).start()
    stopping.wait()
    if wait([ended], timeout).not_done:
        log.warning("still running after %g s, left behind: %s", timeout, name)
    else:
        ended.result()


class FairLock:
    """A lock that goes to the thread that has waited longest.

    A `threading.Lock` may go to the same few threads again and again, while another one waits for
    seconds. That happens in a process that gets little CPU time.
    """

    def __init__(self) -> None:
        self._changing = threading.Lock()  # held briefly, never while waiting
        self._turns = deque[threading.Event]()  # of who has it, then of who waits for it

    def __enter__(self) -> None:
        turn = threading.Event()
        try:
            with self._changing:
                self._turns.append(turn)
                self._turns[0].set()
            turn.wait()
        except BaseException:  # KeyboardInterrupt, MemoryError
            self._leave(turn)
            raise

    def __exit__(self, *_: object) -> None:
        self._leave(self._turns[0])

    def _leave(self, turn: threading.Event) -> None:
        with self._changing:
            if turn in self._turns:
                self._turns.remove(turn)
            if self._turns:
                self._turns[0].set()


class ThreadDied(Exception):
    """A thread ended by an exception, or before it was asked to; the log has the traceback."""


class Threads:
    """A group of threads that start together and stop together.

    A thread that ends by an exception, or before it was asked to, becomes the `problem` of its
    group at once, and sets the event that was given to `start`, so that the process can end.
    """

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._wakes: list[Callable[[], None]] = []
        self._on_death = threading.Event()
        self._problem: str | None = None

    def add(
        self,
        name: str,
        run: Callable[[threading.Event], None],
        wake: Callable[[], None] | None = None,
        *,
        may_end: bool = False,
    ) -> None:
        """Add a thread that calls `run` with an event, and returns once this event is set.

        A `run` that waits for something else has a `wake`, which any thread may call. With
        `may_end` it may also return earlier.
        """
        self._threads.append(
            threading.Thread(
                target=self._supervise, args=(name, run, may_end), name=name, daemon=True
            )
        )
        if wake:
            self._wakes.append(wake)

    def start(self, on_death: threading.Event) -> None:
        """Start all threads. `on_death` is set as soon as one of them dies."""
        self._on_death = on_death
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float) -> bool:
        """Ask all threads to end. Return whether all have ended within `timeout` seconds."""
        self._stopping.set()
        for wake in self._wakes:
            wake()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        running = [thread.name for thread in self._threads if thread.is_alive()]
        if running:
            log.warning("still running after %g s, left behind: %s", timeout, ", ".join(running))
        return not running

    def problem(self) -> str | None:
        """Return which thread died first, and why; None if none has died."""
        return self._problem

    def _supervise(self, name: str, run: Callable[[threading.Event], None], may_end: bool) -> None:
        try:
            run(self._stopping)
            if not (may_end or self._stopping.is_set()):
                raise RuntimeError("it returned before it was asked to stop")
        except BaseException as error:
            self._problem = self._problem or f"thread {name} died: {error!r}"
            self._on_death.set()
            log.exception("thread %s died", name)
