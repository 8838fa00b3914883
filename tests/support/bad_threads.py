"""busmon with a thread that dies: `python -m tests.support.bad_threads THREAD run -c FILE`.

The thread gets a RuntimeError in the first function of busmon's own that it calls. Two rule
sets keep a source, and so its thread, busy.
"""

import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, SimpleNamespace

from busmon import threads
from busmon.cli.main import main

SLOW = f"{__name__}:slow"  # slow enough to look at a busmon that ends
KILLED = "killed by the test"
STUCK = f"{__name__}:stuck"
SPINNING = f"{__name__}:spinning"


def slow(_topic: str) -> Callable[..., SimpleNamespace]:
    return lambda *_: _pass_after(2.5)


def stuck(_topic: str) -> Callable[..., SimpleNamespace]:
    return lambda *_: _pass_after(60)


def spinning(_topic: str) -> Callable[..., SimpleNamespace]:
    while True:
        pass


def _pass_after(seconds: float) -> SimpleNamespace:
    time.sleep(seconds)
    return SimpleNamespace(pass_to_service=True)


def kill(frame: FrameType, _event: str, _argument: object) -> None:
    file = frame.f_code.co_filename
    own = "/busmon/" in file and file != threads.__file__
    if own and threading.current_thread().name == victim:
        raise RuntimeError(KILLED)


if __name__ == "__main__":
    victim = sys.argv.pop(1)
    threading.settrace(kill)
    main(prog_name="busmon")
