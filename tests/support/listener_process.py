"""The listener: `fedora-messaging consume` as a process of its own."""

import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.brokers import Server
from tests.support.busmon_process import PROJECT
from tests.support.listener_image import TAP, ListenerImage

PROGRAM = Path(sys.executable).with_name("fedora-messaging")


def is_registered(server: Server) -> bool:
    return server.logged("Successfully registered")


class ListenerProcess(Server):
    """Consumes as its configuration says, and logs beside it.

    It runs in the tests' own Python or, given an image, as that starts it. A Deployment that
    replaces the image's CMD is `listener.argv = image.command("busmon_tap:Tap")`.
    """

    def __init__(
        self,
        toml: Path,
        ready: Callable[[Server], bool] = is_registered,
        image: ListenerImage | None = None,
    ) -> None:
        here = {"PYTHONPATH": f"{PROJECT}:{TAP}"}
        super().__init__(
            image.command() if image else [PROGRAM, "consume"],
            toml.with_suffix(".log"),
            {"FEDORA_MESSAGING_CONF": str(toml), "PYTHONUNBUFFERED": "1"}
            | (image.env if image else here),
            ready=ready,
        )
