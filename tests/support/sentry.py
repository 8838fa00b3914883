"""A server that takes events as Sentry does."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support.http_server import Silent, serving

KEY = "0123456789abcdef0123456789abcdef"


class Sentry:
    """What was sent to a project: whole requests, and the events in them."""

    def __init__(self, url: str) -> None:
        self.dsn = f"{url.replace('//', f'//{KEY}@')}/7"
        self.heard: list[bytes] = []

    def events(self) -> list[dict[str, Any]]:
        lines = [line for request in self.heard for line in request.splitlines()]
        parsed = [json.loads(line) for line in lines if line.startswith(b"{")]
        return [event for event in parsed if "logentry" in event]


@contextmanager
def listening() -> Iterator[Sentry]:
    """Run such a server."""

    class Handler(Silent, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            head = f"{self.path}\n{self.headers}".encode()
            sentry.heard.append(head + body)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

    with serving(Handler) as url:
        sentry = Sentry(url)
        yield sentry
