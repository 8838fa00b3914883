"""Passes requests on to the busmon that leads: one that follows can't answer them itself."""

import ssl
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from threading import Semaphore
from urllib.parse import SplitResult, quote, urlsplit
from wsgiref.types import WSGIEnvironment

from busmon.http_client import TimedConnection
from busmon.settings.models import Web
from busmon.tls import UnusableFile, pinned_context
from busmon.web.http import Header, Response, View, text
from busmon.web.refusals import Refused
from busmon.web.sharing import Busy

MAX_AT_ONCE = 8  # requests: their bodies and answers are in memory, whoever asks
MAX_WAIT_SECONDS = 1.0  # until there are fewer
MAX_SECONDS = 8.0  # then; the server closes a connection after 10
MAX_REQUEST_BYTES = 1024 * 1024  # of a body: as many as reports may have
MAX_ANSWER_BYTES = 16 * 1024 * 1024
OTHER_CERTIFICATE = "and has another certificate than this one, or it has expired"
MARK = "X-Busmon-Forwarded"  # a request is passed on once: the leader can be another one by then
# What belongs to one connection, or is made anew for the other one.
OWN_HEADERS = {"connection", "content-length", "content-type", "date", "host", "keep-alive"}
OWN_HEADERS |= {"expect", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te"}
OWN_HEADERS |= {"trailer", "transfer-encoding", "upgrade", MARK.lower()}


def forward_view(leader: Callable[[], str], standby: Callable[[], str], settings: Web) -> View:
    """Return the view. `leader` is the URL of the leader, or ""; `standby` says who leads.

    With TLS the leader must have the certificate that this busmon has. Nothing is passed on if
    clients need one, since the leader would not see it.
    """
    slots = Semaphore(MAX_AT_ONCE)
    scheme = "https" if settings.certificate else "http"

    def forward(environ: WSGIEnvironment) -> Response:
        url = _split(leader(), scheme)
        if not url or settings.client_ca or _header(MARK) in environ:
            return _unavailable(standby())
        if not slots.acquire(timeout=MAX_WAIT_SECONDS):
            raise Busy
        try:
            return _answer(url, environ, settings.certificate)
        except ssl.SSLCertVerificationError:
            return _unavailable(f"{standby()}, {OTHER_CERTIFICATE}")
        except (OSError, HTTPException, ValueError, UnusableFile):
            return _unavailable(f"{standby()}, and does not answer")
        finally:
            slots.release()

    return forward


def _split(text: str, scheme: str) -> SplitResult | None:
    """Return a URL to which requests can be passed on, else None."""
    try:
        url = urlsplit(text)
        return url if url.scheme == scheme and url.hostname and url.port else None
    except ValueError:
        return None


def _answer(url: SplitResult, environ: WSGIEnvironment, certificate: Path | None) -> Response:
    """Return what the leader answers; raises OSError, HTTPException, ValueError, UnusableFile."""
    tls = pinned_context(certificate) if certificate else None  # it may have been renewed
    method, body = environ["REQUEST_METHOD"], _body(environ)
    if method == "HEAD":  # the application leaves out the body, and gives its length
        method = "GET"
    connection = TimedConnection(
        url.hostname or "", url.port or 0, tls, MAX_SECONDS, max_bytes=MAX_ANSWER_BYTES
    )
    with connection:
        connection.request(method, _target(environ), body, dict(_headers(environ)))
        return _response(connection.getresponse())


def _unavailable(line: str) -> Response:
    return text(HTTPStatus.SERVICE_UNAVAILABLE, line, ("Retry-After", "5"))


def _body(environ: WSGIEnvironment) -> bytes | None:
    length = environ.get("CONTENT_LENGTH") or "0"
    if "HTTP_TRANSFER_ENCODING" in environ or not (length.isascii() and length.isdigit()):
        raise Refused("length", HTTPStatus.LENGTH_REQUIRED)
    if len(length) > 9 or int(length) > MAX_REQUEST_BYTES:
        raise Refused("size", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return environ["wsgi.input"].read(int(length)) if int(length) else None


def _target(environ: WSGIEnvironment) -> str:
    path = quote(environ["PATH_INFO"].encode("latin-1", "replace")) or "/"
    query = environ.get("QUERY_STRING", "")
    return f"{path}?{query}" if query else path


def _headers(environ: WSGIEnvironment) -> Iterator[Header]:
    of_connection = {name.strip().lower() for name in environ.get("HTTP_CONNECTION", "").split(",")}
    left_out = (OWN_HEADERS | of_connection) - {"host"}
    for key, value in environ.items():
        name = key.removeprefix("HTTP_").replace("_", "-").title()
        if key.startswith("HTTP_") and name.lower() not in left_out:
            yield name, value
    if given := environ.get("CONTENT_TYPE"):
        yield "Content-Type", given
    yield MARK, "1"


def _header(name: str) -> str:
    return f"HTTP_{name.upper().replace('-', '_')}"


def _response(answer: HTTPResponse) -> Response:
    headers = [(name, value) for name, value in answer.getheaders()]
    kind = answer.getheader("Content-Type") or "application/octet-stream"
    kept = tuple(header for header in headers if header[0].lower() not in OWN_HEADERS)
    return Response(HTTPStatus(answer.status), answer.read(), kind, kept)
