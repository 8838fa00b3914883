"""A stand-in for Packit's prom-aggregation-gateway, which is a program in Go.

It adds pushed counters to those that it has, as that does. Of other metrics it knows nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from threading import Lock

from tests.support.http_server import Silent, serving


@contextmanager
def aggregation_gateway() -> Iterator[str]:
    """Take pushes to any path, and serve their sums; yield the URL."""
    sums: dict[str, float] = {}
    adding = Lock()

    class GatewayHandler(Silent, BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            with adding:
                for line in text.splitlines():
                    series, _, value = line.rpartition(" ")
                    if not line.startswith("#") and series.split("{")[0].endswith("_total"):
                        sums[series] = sums.get(series, 0) + float(value)
            self.send_response(202)
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            with adding:
                self.wfile.write("".join(f"{name} {sums[name]}\n" for name in sums).encode())

    with serving(GatewayHandler) as url:
        yield url
