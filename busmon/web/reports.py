"""POST /v1/reports: takes the reports of the tap in the listener's process."""

import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from wsgiref.types import InputStream, WSGIEnvironment

from busmon.ledger.errors import LedgerWriteError
from busmon.observers.tap import TapObserver
from busmon.observers.tap_batch import Malformed, ReportBatch, parse
from busmon.web.http import Header, Response, View, is_authorized, text

MAX_REQUEST_BYTES = 1024 * 1024


class _Refused(Exception):
    """The request is refused, for a reason that is counted."""

    def __init__(
        self, reason: str, status: HTTPStatus, content: str = "", *headers: Header
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.response = text(status, content, *headers)


def reports_view(tap: TapObserver, token: str, clock: Callable[[], float] = time.time) -> View:
    """Return the view, which checks method and token itself. `token` is what the tap has."""
    credentials = token.encode()
    parsing = threading.Lock()  # one at a time, so that the memory for it is needed once

    def reports(environ: WSGIEnvironment) -> Response:
        try:
            content = _content(environ, credentials)
            with parsing:
                batch = _parse(content)
            _take(tap, batch, clock())
        except _Refused as refused:
            tap.refuse(refused.reason)
            return refused.response
        return text(HTTPStatus.OK, "taken")

    return reports


def _content(environ: WSGIEnvironment, credentials: bytes) -> bytes:
    if environ["REQUEST_METHOD"] != "POST":
        raise _Refused("method", HTTPStatus.METHOD_NOT_ALLOWED, "", ("Allow", "POST"))
    length = environ.get("CONTENT_LENGTH") or ""
    if not length.isascii() or not length.isdigit():
        raise _Refused("length", HTTPStatus.LENGTH_REQUIRED)
    if len(length) > 9 or int(length) > MAX_REQUEST_BYTES:
        raise _Refused("size", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    body = environ["wsgi.input"]
    if not is_authorized(environ, "bearer", credentials):
        _discard(body, int(length))
        challenge = ("WWW-Authenticate", 'Bearer realm="busmon reports"')
        raise _Refused("token", HTTPStatus.UNAUTHORIZED, "", challenge)
    content: bytes = body.read(int(length))
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != "application/json":
        raise _Refused("type", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    if len(content) != int(length):
        raise _Refused("length", HTTPStatus.BAD_REQUEST, "shorter than its Content-Length")
    return content


def _discard(body: InputStream, left: int) -> None:
    """Read the body and keep nothing of it: a client reads the answer only after it has sent."""
    while left > 0 and (part := body.read(min(left, 65536))):
        left -= len(part)


def _parse(content: bytes) -> ReportBatch:
    try:
        return parse(content)
    except Malformed as error:
        raise _Refused("malformed", HTTPStatus.BAD_REQUEST, f"malformed: {error}") from error


def _take(tap: TapObserver, batch: ReportBatch, now: float) -> None:
    if batch.bus != tap.bus:
        raise _Refused("bus", HTTPStatus.FORBIDDEN, f"takes reports for bus {tap.bus} only")
    try:
        tap.take(batch, now)
    except LedgerWriteError as error:
        raise _Refused("ledger", HTTPStatus.SERVICE_UNAVAILABLE) from error
