"""The WSGI application: which view answers a path, and who may ask for it.

The views read what others hold in memory, and call nothing that waits for a broker or the disk.
"""

import json
import logging
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from types import MappingProxyType
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry

from busmon.problem_log import ProblemLog
from busmon.settings.models import Web
from busmon.web.health import live
from busmon.web.http import Response, View, encode, is_authorized, text
from busmon.web.metrics import metrics_view
from busmon.web.sharing import Busy, Sharing

HEADERS = (
    ("Server", "busmon"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    # The page has its own style. Nothing else may be loaded, and nobody may frame it.
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'",
    ),
)

log = logging.getLogger(__name__)


def make_app(
    settings: Web,
    registry: CollectorRegistry,
    ready: View,
    page: Callable[[], str],
    own: Mapping[str, View] = MappingProxyType({}),
    status: Callable[[], Mapping[str, object]] = dict,
) -> WSGIApplication:
    """Return the application. The health checks need no credentials.

    `own` are views, by path, that check methods and credentials themselves. `status` is
    what /v1/status answers, as JSON.
    """
    sharing = Sharing()
    registry.register(sharing)
    public: dict[str, View] = {
        "/live": live,
        "/-/healthy": live,
        "/ready": ready,
        "/-/ready": ready,
    }
    private: dict[str, View] = {
        "/metrics": metrics_view(registry, sharing),
        "/v1/status": _status_view(status),
        "/": _page_view(page, sharing),
    }
    refuse, errors = _guard(settings), ProblemLog(log)

    def respond(environ: WSGIEnvironment) -> Response:
        path = environ.get("PATH_INFO", "")
        if path in own:
            return own[path](environ)
        view = public.get(path) or private.get(path)
        if view is None:
            return text(HTTPStatus.NOT_FOUND)
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return text(HTTPStatus.METHOD_NOT_ALLOWED, "", ("Allow", "GET, HEAD"))
        if path in private and (refusal := refuse(environ)):
            return refusal
        return view(environ)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            response = respond(environ)
        except Busy:
            response = text(HTTPStatus.SERVICE_UNAVAILABLE, "busy", ("Retry-After", "1"))
        except Exception as error:  # noqa: BLE001 - it is logged, and must not end the server
            errors.problem(
                "cannot answer the request for %r",
                environ.get("PATH_INFO"),
                level=logging.ERROR,
                error=error,
            )
            response = text(HTTPStatus.INTERNAL_SERVER_ERROR)
        headers = [
            ("Content-Type", response.content_type),
            ("Content-Length", str(len(response.body))),
            *response.headers,
            *HEADERS,
        ]
        start_response(f"{response.status.value} {response.status.phrase}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [response.body]

    return app


def _status_view(status: Callable[[], Mapping[str, object]]) -> View:
    return lambda _environ: Response(
        HTTPStatus.OK, f"{json.dumps(status())}\n".encode(), "application/json"
    )


def _page_view(page: Callable[[], str], sharing: Sharing) -> View:
    def render() -> Response:
        return Response(HTTPStatus.OK, encode(page()), "text/html; charset=utf-8")

    return lambda _environ: sharing.respond("/", render)


def _guard(settings: Web) -> Callable[[WSGIEnvironment], Response | None]:
    """Return a function that refuses a request without the credentials of `[web]`."""
    accepted = list(_credentials(settings))

    def refuse(environ: WSGIEnvironment) -> Response | None:
        # Checked here and not in the handshake: a kubelet's probe has no certificate.
        if settings.client_ca and environ.get("SSL_CLIENT_VERIFY") != "SUCCESS":
            return text(HTTPStatus.FORBIDDEN, "a client certificate is required")
        if not accepted or any(is_authorized(environ, *given) for given, _ in accepted):
            return None
        challenges = (("WWW-Authenticate", challenge) for _, challenge in accepted)
        return text(HTTPStatus.UNAUTHORIZED, "", *challenges)

    return refuse


def _credentials(settings: Web) -> Iterator[tuple[tuple[str, bytes], str]]:
    """Yield scheme and credentials, and the challenge: any of them lets a request in."""
    if settings.token:
        token = settings.token.get_secret_value().encode()
        yield ("bearer", token), 'Bearer realm="busmon"'
    if settings.username is not None and settings.password:
        user = f"{settings.username}:{settings.password.get_secret_value()}".encode()
        yield ("basic", b64encode(user)), 'Basic realm="busmon", charset="UTF-8"'
