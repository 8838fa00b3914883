"""A small HTTP server that answers what a test wants."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

S = TypeVar("S", bound=ThreadingHTTPServer)


class Silent:
    """The first base of a request handler that logs nothing."""

    def log_message(self, *_: object) -> None:
        pass


class HttpServer(ThreadingHTTPServer):
    """A server that many clients can call at once: Prometheus, or Alertmanager with all pages."""

    request_queue_size = 128  # with 5, the kernel lets a client try again only after a second

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # the client need not read all
            super().handle_error(request, client_address)


@contextmanager
def running(server: S) -> Iterator[S]:
    """Run a server in a thread, and end it."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve with this handler; yield the URL, without a path."""
    with running(HttpServer(("127.0.0.1", 0), handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}"
