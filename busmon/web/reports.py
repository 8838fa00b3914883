"""POST /v1/reports: the way in for the tap, and for nobody else."""

import hmac
import time
from collections.abc import Callable
from http import HTTPStatus
from wsgiref.types import InputStream, WSGIEnvironment

from busmon.ledger.ledger import LedgerWriteError
from busmon.observers.tap import Malformed, TapObserver, parse
from busmon.web.app import Endpoint, Response

MAX_REQUEST_BYTES = 1024 * 1024  # bytes


class _Refused(Exception):
    """The request is not taken: the reason that is counted, the status and a text of it."""

    def __init__(
        self, reason: str, status: HTTPStatus, text: str = "", *headers: tuple[str, str]
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.response = Response(status, f"{text or status.phrase}\n".encode(), headers=headers)


def reports_endpoint(
    inbox: TapObserver, token: str, clock: Callable[[], float] = time.time
) -> Endpoint:
    """Return what answers any request to /v1/reports."""
    expected = token.encode()

    def endpoint(environ: WSGIEnvironment) -> Response:
        try:
            _accept(inbox, _content(environ, expected), clock())
        except _Refused as refused:
            inbox.refuse(refused.reason)
            return refused.response
        return Response(HTTPStatus.OK, b"taken\n")

    return endpoint


def _content(environ: WSGIEnvironment, expected: bytes) -> bytes:
    if environ["REQUEST_METHOD"] != "POST":
        raise _Refused("method", HTTPStatus.METHOD_NOT_ALLOWED, "", ("Allow", "POST"))
    length = environ.get("CONTENT_LENGTH") or ""
    if not length.isascii() or not length.isdigit():
        raise _Refused("length", HTTPStatus.LENGTH_REQUIRED)
    if len(length) > 9 or int(length) > MAX_REQUEST_BYTES:
        raise _Refused("size", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    body = environ["wsgi.input"]
    scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    same = hmac.compare_digest(given.strip().encode("latin-1", "replace"), expected)
    if not same or scheme.lower() != "bearer":
        _pass_over(body, int(length))
        challenge = ("WWW-Authenticate", 'Bearer realm="busmon reports"')
        raise _Refused("token", HTTPStatus.UNAUTHORIZED, "", challenge)
    content: bytes = body.read(int(length))
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != "application/json":
        raise _Refused("type", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    if len(content) != int(length):
        raise _Refused("length", HTTPStatus.BAD_REQUEST, "shorter than its Content-Length")
    return content


def _pass_over(body: InputStream, left: int) -> None:
    """Read what is refused and keep none of it: a client that can't write on reads no answer."""
    while left > 0 and (part := body.read(min(left, 65536))):
        left -= len(part)


def _accept(inbox: TapObserver, content: bytes, now: float) -> None:
    try:
        batch = parse(content)
    except Malformed as error:
        raise _Refused("malformed", HTTPStatus.BAD_REQUEST, f"malformed: {error}") from error
    if batch.bus != inbox.bus:
        raise _Refused("bus", HTTPStatus.FORBIDDEN, f"takes reports for bus {inbox.bus} only")
    try:
        inbox.take(batch, now)
    except LedgerWriteError as error:
        raise _Refused("ledger", HTTPStatus.SERVICE_UNAVAILABLE) from error
