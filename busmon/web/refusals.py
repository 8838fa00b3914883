"""Requests that the web server refuses, counted by reason."""

import threading
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from wsgiref.types import WSGIEnvironment

from prometheus_client.core import Metric

from busmon.metrics.families import counter
from busmon.web.http import Header, Response, text

REASONS = (
    "busy",  # too many others waited for an answer
    "certificate",  # no client certificate
    "login",  # no credentials, or wrong ones
    "read-only",  # credentials that only read
    "no-operator",  # nobody is configured who may accept
    "cross-site",  # a browser sent it for another site
    "method",
    "length",
    "size",
    "type",
    "malformed",
    "ledger",  # the ledger cannot be read or written
    "slow",  # what the page reads from the ledger takes too long
)


class Refused(Exception):
    """The request is refused, for a reason that is counted."""

    def __init__(
        self, reason: str, answer: HTTPStatus | Response, content: str = "", *headers: Header
    ) -> None:
        """Refuse with an answer, or with a status, a text and headers."""
        super().__init__(reason)
        self.reason = reason
        if isinstance(answer, HTTPStatus):
            answer = text(answer, content, *headers)
        self.response: Response = answer


def only_read(environ: WSGIEnvironment) -> None:
    """Refuse any method but GET and HEAD."""
    if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
        raise Refused("method", HTTPStatus.METHOD_NOT_ALLOWED, "", ("Allow", "GET, HEAD"))


class Refusals:
    """A collector of the refused requests. Thread-safe."""

    def __init__(self) -> None:
        self._counting = threading.Lock()
        self._numbers = Counter(dict.fromkeys(REASONS, 0))

    def count(self, reason: str) -> None:
        """Count a refused request, by one of REASONS."""
        with self._counting:
            self._numbers[reason] += 1

    def collect(self) -> Iterator[Metric]:
        """Yield how many requests were refused since the start."""
        with self._counting:
            numbers = dict(self._numbers)
        yield counter(
            "busmon_web_refused_requests_total",
            "Requests that were refused, by reason, without those to /v1/reports.",
            ["reason"],
            (((reason,), number) for reason, number in numbers.items()),
        )
