"""The web server on real sockets, and a client."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.client import HTTPConnection, HTTPSConnection
from threading import Event
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from wsgiref.types import WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry

from busmon.settings.models import Web
from busmon.web.app import make_app
from busmon.web.health import ready_view
from busmon.web.http import Response
from busmon.web.server import WebServer
from tests.support.brokers.certificates import Certificates
from tests.support.sockets import rest


def page(_environ: WSGIEnvironment) -> Response:
    return Response(HTTPStatus.OK, "<p>café</p>".encode(), "text/html; charset=utf-8")


APP = make_app(Web(), CollectorRegistry(), ready_view(list))


@contextmanager
def serving(
    settings: Web, app: WSGIApplication | None = None, **bounds: Any
) -> Iterator[WebServer]:
    """Serve an application, by default the health checks and a page."""
    server = WebServer(settings, **bounds)
    app = app or make_app(settings, CollectorRegistry(), ready_view(list), page)
    with server.serving(app, Event()):
        yield server


def address(server: WebServer) -> tuple[str, int]:
    url = urlsplit(server.url)
    assert url.hostname
    assert url.port
    return url.hostname, url.port


class Answer(NamedTuple):
    status: int
    server: str | None
    text: str


def get(server: WebServer, path: str, tls: ssl.SSLContext | None = None) -> Answer:
    """Ask for a path, and read the answer to its end."""
    host, port = address(server)
    connection = (
        HTTPSConnection(host, port, context=tls, timeout=30)
        if tls
        else HTTPConnection(host, port, timeout=30)
    )
    with closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        return Answer(response.status, response.getheader("Server"), response.read().decode())


def raw(server: WebServer, request: bytes) -> bytes:
    """Send bytes, and return what is received until the server closes."""
    with socket.create_connection(address(server), timeout=30) as client:
        client.sendall(request)
        return rest(client)


def tls_settings(certificates: Certificates, **others: Any) -> Web:
    certificate, key = certificates.server
    return Web(listen="localhost:0", certificate=certificate, key=key, **others)
