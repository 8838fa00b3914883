"""The WSGI application: which view answers a path, and who may ask for it.

What it answers itself is in memory; the pages read the ledger, too. Nothing waits for a broker.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry

from busmon.problem_log import ProblemLog
from busmon.settings.models import Web
from busmon.web.access import Access
from busmon.web.api.view import description_view
from busmon.web.health import live
from busmon.web.http import Response, View, text
from busmon.web.metrics import metrics_view
from busmon.web.pages.urls import Urls
from busmon.web.refusals import Refusals, Refused, only_read
from busmon.web.sharing import Busy, Sharing

HEADERS = (  # of an answer that does not have its own
    ("Server", "busmon"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    # Style and script are files of busmon. Nothing else may be loaded, and nobody may frame it.
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
)
HEALTH = {"/live", "/-/healthy", "/ready", "/-/ready", "/metrics"}

log = logging.getLogger(__name__)


def all_but_health(view: View) -> Callable[[str], View | None]:
    """Return what gives a view for each path, but for the health checks and /metrics."""
    return lambda path: None if path in HEALTH else view


def no_page(_environ: WSGIEnvironment) -> Response:
    """Answer that there is none."""
    return text(HTTPStatus.NOT_FOUND)


def make_app(
    settings: Web,
    registry: CollectorRegistry,
    ready: View,
    pages: View = no_page,
    own: Callable[[str], View | None] = lambda _: None,
    status: Callable[[], Mapping[str, object]] = dict,
) -> WSGIApplication:
    """Return the application. The health checks need no credentials.

    `pages` answers what is left, for those who may read. `own` gives the view for a path, if it
    has one that checks methods and credentials itself; what such a view refuses is counted here,
    if it raises Refused.
    `status` is what /v1/status answers, as JSON.
    """
    sharing, refusals = Sharing(), Refusals()
    registry.register(refusals)
    public: dict[str, View] = {
        "/live": live,
        "/-/healthy": live,
        "/ready": ready,
        "/-/ready": ready,
    }
    private: dict[str, View] = {
        "/metrics": metrics_view(registry, sharing),
        "/v1/status": _status_view(status),
        "/v1/openapi.json": description_view(settings.public_url),
    }
    access, errors, urls = Access(settings), ProblemLog(log), Urls(settings.public_url)

    def respond(environ: WSGIEnvironment) -> Response:
        path = environ["PATH_INFO"] = urls.own(environ.get("PATH_INFO", ""))
        if view := own(path):
            return view(environ)
        if path not in public:
            access.read(environ)
        view = public.get(path) or private.get(path)
        if view is None:
            return pages(environ)
        only_read(environ)
        return view(environ)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            response = respond(environ)
        except Refused as refused:
            refusals.count(refused.reason)
            response = refused.response
        except Busy:
            refusals.count("busy")
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
        ]
        given = {name for name, _ in headers}
        headers += [header for header in HEADERS if header[0] not in given]
        start_response(f"{response.status.value} {response.status.phrase}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [response.body]

    return app


def _status_view(status: Callable[[], Mapping[str, object]]) -> View:
    return lambda _environ: Response(
        HTTPStatus.OK, f"{json.dumps(status())}\n".encode(), "application/json"
    )
