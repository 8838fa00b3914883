"""A stand-in for a heartbeat service outside, such as Healthchecks.

It does what Healthchecks documents: a ping is a POST to the check's own URL; without one for
`period` and then `grace`, the check is down until the next ping.
"""

import time
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler

from tests.support.http_server import HttpServer, Silent, running

PATH = "/ping/5f9a3c1e"  # whoever knows it can ping


class Heartbeat(HttpServer):
    """A check with its period and grace, in seconds."""

    daemon_threads = True

    def __init__(self, period: float, grace: float) -> None:
        self._patience = period + grace
        self.pings: list[float] = []  # their times, by a steady clock
        super().__init__(("127.0.0.1", 0), _PingHandler)
        self.url = f"http://127.0.0.1:{self.server_port}{PATH}"

    @property
    def up(self) -> bool:
        """Return whether the check is up; before the first ping it is not."""
        return bool(self.pings) and time.monotonic() - self.pings[-1] < self._patience

    def pinged(self, times: int) -> bool:
        """Return whether it was pinged so many times."""
        return len(self.pings) >= times


class _PingHandler(Silent, BaseHTTPRequestHandler):
    server: Heartbeat

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        known = self.path == PATH
        if known:
            self.server.pings.append(time.monotonic())
        self.send_response(200 if known else 404)
        self.end_headers()


def heartbeat(period: float, grace: float) -> AbstractContextManager[Heartbeat]:
    """Run a heartbeat service."""
    return running(Heartbeat(period, grace))
