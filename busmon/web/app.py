"""What is served over HTTP, and to whom: /metrics, health checks, the status, a landing page.

A plain WSGI application; busmon.web_server puts it on a socket. It reads what others hold
in memory and calls nothing that waits for a broker or the disk.
"""

import gzip
import hmac
import json
import logging
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from busmon.ledger.ledger import Ledger
from busmon.settings.models import Web
from busmon.sources.base import ConnectionState
from busmon.text import printable
from busmon.threads import Threads

HEADERS = (
    ("Server", "busmon"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    # The page brings its own style, and nothing else is to be loaded or to frame it.
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'",
    ),
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, before HEAD takes its body away."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


Endpoint = Callable[[WSGIEnvironment], Response]


def problems(
    connections: Mapping[str, ConnectionState], ledger: Ledger, threads: Threads
) -> list[str]:
    """Return a line for each reason for which busmon is not ready."""
    lines = [
        f"{bus}: {problem}"
        for bus, connection in connections.items()
        if (problem := connection.problem())
    ]
    return [*lines, *filter(None, (ledger.problem(), threads.problem()))]


def make_app(
    settings: Web,
    registry: CollectorRegistry,
    problems: Callable[[], list[str]],
    page: Callable[[], str],
    own: Mapping[str, Endpoint] = MappingProxyType({}),
    status: Callable[[], Mapping[str, object]] = dict,
) -> WSGIApplication:
    """Return the application. Whoever may connect may ask for the health checks.

    The endpoints in `own` see to methods and credentials themselves. `status` is what
    /v1/status answers, as JSON.
    """
    ready = _ready(problems)
    public: dict[str, Endpoint] = {
        "/live": _live,
        "/-/healthy": _live,
        "/ready": ready,
        "/-/ready": ready,
    }
    private: dict[str, Endpoint] = {
        "/metrics": _metrics(registry),
        "/v1/status": _status(status),
        "/": _landing(page),
    }
    refusal = _guard(settings)

    def respond(environ: WSGIEnvironment) -> Response:
        path = environ.get("PATH_INFO", "")
        if path in own:
            return own[path](environ)
        endpoint = public.get(path) or private.get(path)
        if endpoint is None:
            return _text(HTTPStatus.NOT_FOUND)
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return _text(HTTPStatus.METHOD_NOT_ALLOWED, ("Allow", "GET, HEAD"))
        if path in private and (refused := refusal(environ)):
            return refused
        return endpoint(environ)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            response = respond(environ)
        except Exception:
            log.exception("no answer to a request of %r", environ.get("PATH_INFO"))
            response = _text(HTTPStatus.INTERNAL_SERVER_ERROR)
        headers = [
            ("Content-Type", response.content_type),
            ("Content-Length", str(len(response.body))),
            *response.headers,
            *HEADERS,
        ]
        start_response(f"{response.status.value} {response.status.phrase}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [response.body]

    return app


def _text(status: HTTPStatus, *headers: tuple[str, str]) -> Response:
    return Response(status, f"{status.phrase}\n".encode(), headers=headers)


def _live(_environ: WSGIEnvironment) -> Response:
    return Response(HTTPStatus.OK, b"live\n")


def _ready(problems: Callable[[], list[str]]) -> Endpoint:
    def ready(_environ: WSGIEnvironment) -> Response:
        lines = [printable(problem) for problem in problems()]
        if not lines:
            return Response(HTTPStatus.OK, b"ready\n")
        return Response(HTTPStatus.SERVICE_UNAVAILABLE, _encode("\n".join(lines) + "\n"))

    return ready


def _landing(page: Callable[[], str]) -> Endpoint:
    return lambda _environ: Response(HTTPStatus.OK, _encode(page()), "text/html; charset=utf-8")


def _status(status: Callable[[], Mapping[str, object]]) -> Endpoint:
    return lambda _environ: Response(
        HTTPStatus.OK, f"{json.dumps(status())}\n".encode(), "application/json"
    )


def _encode(text: str) -> bytes:
    return text.encode(errors="backslashreplace")  # an error's text may hold anything


def _metrics(registry: CollectorRegistry) -> Endpoint:
    def metrics(environ: WSGIEnvironment) -> Response:
        encode, content_type = _encoder(environ.get("HTTP_ACCEPT", ""))
        names = parse_qs(environ.get("QUERY_STRING", "")).get("name[]")
        body = encode(registry.restricted_registry(names) if names else registry)
        if not _takes_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")):
            return Response(HTTPStatus.OK, body, content_type)
        packed = gzip.compress(body, compresslevel=6)
        return Response(HTTPStatus.OK, packed, content_type, (("Content-Encoding", "gzip"),))

    return metrics


def _encoder(accept: str) -> tuple[Callable[[Any], bytes], str]:
    try:
        return choose_encoder(" ".join(accept.split()))  # on one line: it may be echoed
    except TypeError:  # of a version that is no number
        return choose_encoder("")


def _takes_gzip(accept_encoding: str) -> bool:
    for item in accept_encoding.lower().replace(" ", "").split(","):
        coding, _, quality = item.partition(";")
        if coding == "gzip":
            return not re.fullmatch(r"q=0(\.0*)?", quality)
    return False


def _guard(settings: Web) -> Callable[[WSGIEnvironment], Response | None]:
    """Return what tells why a request may not have what is private, or None where it may."""
    scheme, expected, challenge = _credentials(settings)

    def refusal(environ: WSGIEnvironment) -> Response | None:
        # Asked for here and not in the handshake: a kubelet's probe has no certificate.
        if settings.client_ca and environ.get("SSL_CLIENT_VERIFY") != "SUCCESS":
            return Response(HTTPStatus.FORBIDDEN, b"a client certificate is required\n")
        if not scheme:
            return None
        given_scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        sent = given.strip().encode("latin-1", "replace")  # as WSGI gives bytes
        same = hmac.compare_digest(sent, expected)
        if same and given_scheme.lower() == scheme:
            return None
        return _text(HTTPStatus.UNAUTHORIZED, ("WWW-Authenticate", challenge))

    return refusal


def _credentials(settings: Web) -> tuple[str, bytes, str]:
    """Return the scheme, the credentials and the challenge; the scheme is empty without any."""
    if settings.token:
        return "bearer", settings.token.get_secret_value().encode(), 'Bearer realm="busmon"'
    if settings.username is not None and settings.password:
        user = f"{settings.username}:{settings.password.get_secret_value()}"
        return "basic", b64encode(user.encode()), 'Basic realm="busmon", charset="UTF-8"'
    return "", b"", ""
