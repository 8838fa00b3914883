"""A request to a WSGI application without a socket."""

from base64 import b64encode
from collections.abc import Callable
from io import BytesIO
from typing import NamedTuple
from wsgiref.types import WSGIApplication
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from busmon.ledger.ledger import Ledger
from busmon.metrics.collector import Metrics, make_registry
from busmon.settings.models import Web
from busmon.sources.base import ConnectionState
from busmon.web.app import make_app
from busmon.web.health import ready_view
from busmon.web.http import View
from tests.support.web_server import page


class Answer(NamedTuple):
    status: str
    headers: dict[str, str]
    body: bytes


def ask(
    app: WSGIApplication,
    path: str,
    method: str = "GET",
    query: str = "",
    body: bytes = b"",
    **environ: str | None,
) -> Answer:
    """Return the answer; a variable that is None is left out.

    wsgiref's validator checks that the application keeps to the standard.
    """
    variables = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "wsgi.input": BytesIO(body),
        **environ,
    }
    variables = {name: value for name, value in variables.items() if value is not None}
    setup_testing_defaults(variables)
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], _error: object = None
    ) -> Callable[[bytes], object]:
        started.append((status, headers))
        return lambda _: None

    result = validator(app)(variables, start_response)
    try:
        content = b"".join(result)
    finally:
        result.close()  # type: ignore[attr-defined] # the validator's has it
    [(status, headers)] = started
    joined: dict[str, str] = {}
    for name, value in headers:  # a header that is there twice is a list of both
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return Answer(status, joined, content)


def basic(user: str) -> str:
    """Return the header of a login, `name:password`."""
    return f"Basic {b64encode(user.encode()).decode()}"


def make(
    settings: Web = Web(),  # noqa: B008 - frozen
    problems: Callable[[], list[str]] = list,
    pages: View = page,
) -> WSGIApplication:
    connections = {"fedora": ConnectionState()}
    registry = make_registry(Metrics(Ledger(":memory:"), connections, "1.2.3"))
    return make_app(settings, registry, ready_view(problems), pages)
