"""Requests that the web server refuses, counted by reason."""

import threading
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus

from prometheus_client.core import Metric

from busmon.metrics.families import counter
from busmon.web.http import Header, text

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
    "ledger",  # the ledger cannot be written
)


class Refused(Exception):
    """The request is refused, for a reason that is counted."""

    def __init__(
        self, reason: str, status: HTTPStatus, content: str = "", *headers: Header
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.response = text(status, content, *headers)


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
