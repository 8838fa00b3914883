"""Commands on a terminal of their own, as a person starts them."""

import os
import subprocess
import sys
from contextlib import suppress

from tests.support.busmon_process import PROJECT

# In a new session, the first terminal that is opened becomes the one to ask questions on.
TAKE_TERMINAL = (
    "import os, sys; os.open(os.ttyname(0), os.O_RDWR); os.execv(sys.argv[1], sys.argv[1:])"
)


def run_on_terminal(*arguments: str, timeout: float = 60) -> tuple[int, str]:
    """Run Python with these arguments; return its exit status and what the terminal shows.

    Nobody types anything: a command that asks runs into the time-out.
    """
    ours, theirs = os.openpty()
    command = [sys.executable, "-c", TAKE_TERMINAL, sys.executable, *arguments]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=PROJECT, start_new_session=True
    ) as process:
        os.close(theirs)
        try:
            status = process.wait(timeout)
        finally:
            process.kill()
        shown = _read(ours)
    os.close(ours)
    return status, shown.replace("\r\n", "\n")


def _read(terminal: int) -> str:
    shown = b""
    with suppress(OSError):  # at the end, when nobody has the terminal open
        while block := os.read(terminal, 65536):
            shown += block
    return shown.decode()
