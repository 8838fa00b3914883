"""The body of a POST request: read within limits, and only from whoever may send it."""

from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar
from wsgiref.types import InputStream, WSGIEnvironment

from busmon.web.refusals import Refused

JSON, FORM = "application/json", "application/x-www-form-urlencoded"

Sender = TypeVar("Sender")


def read_body(
    environ: WSGIEnvironment,
    max_bytes: int,
    admit: Callable[[WSGIEnvironment], Sender],
    media_type: str = JSON,
) -> tuple[Sender, bytes]:
    """Return who sends it, and the body, which should be of this type; raises Refused.

    `admit` returns the sender, or raises Refused; then nothing of the body is kept.
    """
    if environ["REQUEST_METHOD"] != "POST":
        raise Refused("method", HTTPStatus.METHOD_NOT_ALLOWED, "", ("Allow", "POST"))
    length = environ.get("CONTENT_LENGTH") or ""
    if not length.isascii() or not length.isdigit():
        raise Refused("length", HTTPStatus.LENGTH_REQUIRED)
    if len(length) > 9 or int(length) > max_bytes:
        raise Refused("size", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    body = environ["wsgi.input"]
    try:
        sender = admit(environ)
    except Refused:
        _discard(body, int(length))
        raise
    content: bytes = body.read(int(length))
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != media_type:
        raise Refused("type", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    if len(content) != int(length):
        raise Refused("length", HTTPStatus.BAD_REQUEST, "shorter than its Content-Length")
    return sender, content


def _discard(body: InputStream, left: int) -> None:
    """Read the body and keep nothing of it: a client reads the answer only after it has sent."""
    while left > 0 and (part := body.read(min(left, 65536))):
        left -= len(part)
