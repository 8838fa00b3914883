"""A server that passes the reports of one tap on to several busmons."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.support.http_server import Silent, serving

PASSED_ON = ("Authorization", "Content-Type", "Content-Encoding")


@contextmanager
def report_tee(urls: Sequence[str], answers: Callable[[], bool] = lambda: True) -> Iterator[str]:
    """Pass each request on to these URLs; yield the one that takes it, without a path.

    What it answers is the worst status, so that the tap reports again until all have it. If it
    does not answer, what was taken is reported again, too.
    """

    class Handler(Silent, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
            requests = [Request(f"{url}{self.path}", body, headers) for url in urls]
            status = max(map(_status, requests))
            if not answers():
                return
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serving(Handler) as url:
        yield url


def _status(request: Request) -> int:
    try:
        with urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 503  # it is not up yet, or no longer
