"""busmon with a thread that dies: `python -m tests.support.bad_threads THREAD run -c FILE`.

The thread gets a RuntimeError in the first function of busmon's own that it calls. Two rule
sets keep a source, and so its thread, busy.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, SimpleNamespace

from busmon import sentry, service, threads
from busmon.cli.main import main
from tests.support.brokers import wait_until

SLOW = f"{__name__}:slow"  # until somebody has looked at a busmon that ends
LOOKED_AT = "TEST_HAS_LOOKED_AT"  # the variable with the file that says so; without it, at once
KILLED = "killed by the test"
STUCK = f"{__name__}:stuck"
SPINNING = f"{__name__}:spinning"


def slow(_topic: str) -> Callable[..., SimpleNamespace]:
    looked_at = Path(os.environ.get(LOOKED_AT, os.devnull))

    def decide(*_: object) -> SimpleNamespace:
        wait_until(looked_at.exists)
        return SimpleNamespace(pass_to_service=True)

    return decide


def stuck(_topic: str) -> Callable[..., SimpleNamespace]:
    def decide(*_: object) -> SimpleNamespace:
        time.sleep(60)
        return SimpleNamespace(pass_to_service=True)

    return decide


def spinning(_topic: str) -> Callable[..., SimpleNamespace]:
    while True:
        pass


def kill(frame: FrameType, _event: str, _argument: object) -> None:
    file = frame.f_code.co_filename
    own = "/busmon/" in file and file != threads.__file__
    if own and threading.current_thread().name == victim:
        raise RuntimeError(KILLED)


if __name__ == "__main__":
    victim = sys.argv.pop(1)
    service.STOP_TIMEOUT = 60  # while somebody looks at it
    sentry.STOP_TIMEOUT = 30
    threading.settrace(kill)
    main(prog_name="busmon")
