"""Serve samples of what needs a cluster, Packit or RabbitMQ; counters grow with each scrape."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

FOLDER = Path(__file__).parent / "exporters"
SAMPLES = sorted(path.stem for path in FOLDER.glob("*.txt"))


def after_scrapes(text: str, scrapes: int) -> str:
    """Return the sample after so many scrapes: each counter grows by one with each of them."""
    counters = set(re.findall(r"^# TYPE (\S+) counter$", text, re.MULTILINE))

    def grow(line: str) -> str:
        series, _, value = line.rpartition(" ")
        return f"{series} {float(value) + scrapes}" if series.split("{")[0] in counters else line

    return "".join(f"{grow(line)}\n" for line in text.splitlines())


def monitor_answer(scrapes: int) -> str:
    """Return the answer of the listener's monitor at /ready."""
    states = ("received", "processed", "dropped", "rejected", "failed")
    return json.dumps({"consuming": True, "consumed": dict.fromkeys(states, 10 * scrapes)})


@contextmanager
def samples() -> Iterator[int]:
    """Serve each sample at /NAME, and the listener's monitor at /ready; yield the port."""
    scrapes: Counter[str] = Counter()

    class ScrapeHandler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.removeprefix("/")
            scrapes[name] += 1
            is_monitor = name == "ready"
            sample = "" if is_monitor else (FOLDER / f"{name}.txt").read_text()
            text = (
                monitor_answer(scrapes[name])
                if is_monitor
                else after_scrapes(sample, scrapes[name])
            )
            self.send_response(200)
            self.send_header("Content-Type", "application/json" if is_monitor else "text/plain")
            self.end_headers()
            self.wfile.write(text.encode())

        log_message: Callable[..., None] = lambda *_: None

    with ThreadingHTTPServer(("127.0.0.1", 0), ScrapeHandler) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
