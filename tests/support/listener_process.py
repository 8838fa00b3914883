"""The listener: `fedora-messaging consume` as a process of its own."""

import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.brokers import Server
from tests.support.busmon_process import PROJECT

PROGRAM = Path(sys.executable).with_name("fedora-messaging")


def is_registered(server: Server) -> bool:
    return server.logged("Successfully registered")


class ListenerProcess(Server):
    """Consumes as its configuration says, and logs beside it."""

    def __init__(self, toml: Path, ready: Callable[[Server], bool] = is_registered) -> None:
        super().__init__(
            [PROGRAM, "--conf", toml, "consume"],
            toml.with_suffix(".log"),
            {"PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"},
            ready=ready,
        )
