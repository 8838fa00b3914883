"""Reads one HTTP request, within limits, for the server."""

import logging
import re
import ssl
from http import HTTPStatus
from http.client import LineTooLong
from io import BufferedReader, StringIO
from typing import TextIO
from wsgiref.simple_server import WSGIRequestHandler
from wsgiref.types import WSGIEnvironment

MAX_HEAD_BYTES = 65536  # the first line and the headers of a request
ABSOLUTE_FORM = re.compile(r"https?://[^/?#]*/*", re.IGNORECASE)  # RFC 9112, section 3.2.2

log = logging.getLogger(__name__)


class _Reader(BufferedReader):
    """Reads a request. Its lines, which are the head, have one size limit together."""

    _left = MAX_HEAD_BYTES + 1

    def readline(self, size: int | None = -1, /) -> bytes:
        if not self._left:
            raise LineTooLong("head")
        line = super().readline(self._left if size is None or size < 0 else min(size, self._left))
        self._left -= len(line)
        return line


class RequestHandler(WSGIRequestHandler):
    """Answers one request of a connection."""

    def setup(self) -> None:
        """See StreamRequestHandler."""
        super().setup()
        self.rfile = _Reader(self.rfile.detach())

    def parse_request(self) -> bool:
        """See BaseHTTPRequestHandler."""
        if not super().parse_request():
            return False
        self.path = ABSOLUTE_FORM.sub("/", self.path, count=1)
        names = ("Content-Length", "Transfer-Encoding")
        if sum(len(self.headers.get_all(name, [])) for name in names) > 1:
            # A proxy in front may take the other length, and so another end of the request.
            self.send_error(HTTPStatus.BAD_REQUEST, "More than one length")
            return False
        return True

    def get_environ(self) -> WSGIEnvironment:
        """See WSGIRequestHandler."""
        certificate = isinstance(self.request, ssl.SSLSocket) and self.request.getpeercert()
        return super().get_environ() | {"SSL_CLIENT_VERIFY": "SUCCESS" if certificate else "NONE"}

    def get_stderr(self) -> TextIO:
        """See WSGIRequestHandler."""
        return StringIO()  # the application logs its own errors; all others are lost connections

    def version_string(self) -> str:
        """See BaseHTTPRequestHandler."""
        return "busmon"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """See BaseHTTPRequestHandler."""
        log.debug("%s: %r", self.client_address[0], format % args)
