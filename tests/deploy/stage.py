"""Serves the metrics of played busmons, and lists them for Prometheus."""

import json
import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.deploy.played import Busmon, Series
from tests.support.http_server import HttpServer, Silent, running


def text(series: Iterable[Series]) -> str:
    """Return series in the text format."""
    lines = []
    for name, labels, value in series:
        pairs = ",".join(f'{key}="{of}"' for key, of in labels.items())
        lines.append(f"{name}{{{pairs}}} {float(value)}\n")
    return "".join(lines)


class Stage(HttpServer):
    """Serves /NAMESPACE/metrics of each busmon, /NAMESPACE/gateway, and the targets.

    At first there is none.
    """

    daemon_threads = True

    def __init__(self) -> None:
        self.busmons: dict[str, Busmon] = {}
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    def play(self, busmons: Iterable[Busmon]) -> None:
        """Serve these from now on."""
        with self.lock:
            self.busmons = {busmon.namespace: busmon for busmon in busmons}

    def jobs(self) -> list[dict[str, Any]]:
        """Return the jobs that find and scrape all of it."""
        interval = "1s"
        return [
            {
                "job_name": job,
                "honor_labels": honest,
                "scrape_interval": interval,
                "scrape_timeout": interval,
                "http_sd_configs": [
                    {
                        "url": f"http://127.0.0.1:{self.server_port}/{path}",
                        "refresh_interval": "500ms",
                    }
                ],
            }
            for job, path, honest in (
                ("busmon", "metrics", False),
                ("packit-pushgateway", "gateway", True),
            )
        ]

    def targets(self, path: str) -> list[dict[str, Any]]:
        return [
            {
                "targets": [f"127.0.0.1:{self.server_port}"],
                "labels": {
                    "namespace": name,
                    "instance": "busmon",
                    "__metrics_path__": f"/{name}/{path}",
                },
            }
            for name, busmon in self.busmons.items()
            if path == "gateway" or busmon.scraped
        ]

    def answer(self, path: str) -> str | None:
        """Return the answer to a request; None if nothing answers there."""
        *names, what = path.strip("/").split("/")
        with self.lock:
            for busmon in self.busmons.values():
                busmon.advance()
            if not names:
                return json.dumps(self.targets(what))
            busmon = self.busmons[names[0]]
            if what == "gateway":
                return text(busmon.gateway())
            return text(busmon.series()) if busmon.answers else None


class _Handler(Silent, BaseHTTPRequestHandler):
    server: Stage
    protocol_version = "HTTP/1.1"  # connections are kept

    def do_GET(self) -> None:
        answer = self.server.answer(self.path)
        self.send_response(200 if answer is not None else 503)
        discovery = answer is not None and answer.startswith("[")
        self.send_header("Content-Type", "application/json" if discovery else "text/plain")
        body = (answer or "").encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def staging() -> AbstractContextManager[Stage]:
    """Run an empty stage."""
    return running(Stage())
