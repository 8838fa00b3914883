"""What every view needs: its type, its response, the check of a request's credentials."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from wsgiref.types import WSGIEnvironment

Header = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. HEAD gets the same as GET, without the body."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[Header, ...] = ()


View = Callable[[WSGIEnvironment], Response]  # answers the requests for one path


def text(status: HTTPStatus, content: str = "", *headers: Header) -> Response:
    """Return a response in plain text; without content it says what the status means."""
    return Response(status, encode(f"{content or status.phrase}\n"), headers=headers)


def encode(content: str) -> bytes:
    """Return UTF-8. The text of an error may hold characters that UTF-8 does not have."""
    return content.encode(errors="backslashreplace")


def is_authorized(environ: WSGIEnvironment, scheme: str, credentials: bytes) -> bool:
    """Return whether the request has these credentials; `scheme` is in lower case."""
    given_scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    sent = given.strip().encode("latin-1", "replace")  # WSGI decoded it so
    same = hmac.compare_digest(sent, credentials)
    return same and given_scheme.lower() == scheme
