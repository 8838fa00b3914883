"""A connection with one deadline, and servers that never come to an end."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

import pytest

from busmon.http_client import TimedConnection
from tests.support.brokers.certificates import Certificates
from tests.support.cpu import cpu_time_at_most
from tests.support.endless import ENDLESS, endless
from tests.support.http_server import HttpServer, Silent, serving


def ask(
    url: str, timeout: float, tls: ssl.SSLContext | None = None, body: bytes | None = None
) -> bytes:
    parts = urlsplit(url)
    with TimedConnection(parts.hostname or "", parts.port or 0, tls, timeout) as connection:
        connection.request("POST" if body else "GET", "/", body)
        return connection.getresponse().read()


@pytest.mark.parametrize("kind", ENDLESS)
def test_an_answer_without_end_ends_at_the_deadline_and_costs_little(kind: str) -> None:
    with endless(kind) as url, cpu_time_at_most(0.2), pytest.raises((OSError, HTTPException)):
        ask(url, timeout=0.3)


# What a server sends, and the error.
WRONG = {
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}": "the answer is too long",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFF\r\n": "too long",
    b"\x1b[31mgo to http://evil.example\r\n\r\n": "the server does not answer in HTTP",
    b"HTTP/9 \x1b[31m\r\n\r\n": "the server does not answer in HTTP",
}


@pytest.mark.parametrize("sent", WRONG)
def test_what_a_server_sends_reserves_no_memory_and_is_in_no_error(sent: bytes) -> None:
    def answer() -> None:
        client, _ = server.accept()
        with client:
            client.recv(65536)
            client.sendall(sent)

    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = threading.Thread(target=answer)
        answering.start()
        with pytest.raises(HTTPException) as error:
            ask(f"http://127.0.0.1:{server.getsockname()[1]}", timeout=30)
        answering.join()
    assert WRONG[sent] in str(error.value)
    assert "\x1b" not in str(error.value)


def test_a_server_that_never_ends_its_handshake_is_left_at_the_deadline() -> None:
    with endless("silence") as url, pytest.raises(TimeoutError):
        ask(url, 0.3, ssl.create_default_context())


@contextmanager
def slow_reader(tls: ssl.SSLContext | None) -> Iterator[tuple[int, list[int]]]:
    """Serve one client, and read what it sends in small steps; yield the port, and their sizes."""
    leaving, read_so_far = threading.Event(), list[int]()

    def read() -> None:
        client, _ = server.accept()
        with suppress(OSError):
            client = tls.wrap_socket(client, server_side=True) if tls else client
            while (part := client.recv(16384)) and not leaving.wait(0.02):
                read_so_far.append(len(part))
        client.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        reading = threading.Thread(target=read)
        reading.start()
        yield server.getsockname()[1], read_so_far
        leaving.set()
        reading.join()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_reads_slowly_is_left_at_the_deadline(
    scheme: str, certificates: Certificates
) -> None:
    tls, trust = None, None
    if scheme == "https":
        tls, trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificates.trusting()
        tls.load_cert_chain(*certificates.server)
    with slow_reader(tls) as (port, read_so_far):
        with pytest.raises(TimeoutError):
            ask(f"{scheme}://localhost:{port}", 0.5, trust, body=bytes(16 * 1024**2))
        assert sum(read_so_far) < 2 * 1024**2


def test_a_host_without_an_address_is_an_error() -> None:
    too_long = ".".join("a" * 150)  # so no server is asked, who might be away
    with pytest.raises(OSError, match="Name or service not known"):
        ask(f"http://{too_long}:1", 0.3)


class Proxy(Silent, BaseHTTPRequestHandler):
    """Connects its clients with any port of this machine but 1; it knows when one has left."""

    def do_CONNECT(self) -> None:
        port = int(self.path.rpartition(":")[2])
        if port == 1:
            self.send_error(403)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.flush()
        with socket.create_connection(("127.0.0.1", port)) as server:
            there = threading.Thread(target=pump, args=(self.connection, server))
            there.start()
            pump(server, self.connection)
            there.join()


def pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(65536):
            sink.sendall(block)
        sink.shutdown(socket.SHUT_WR)


class Greeter(Silent, BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")


def test_a_tunnel_leads_to_the_server_itself(certificates: Certificates) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificates.server)
    with serving(Proxy) as url, HttpServer(("127.0.0.1", 0), Greeter) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        port, trust = server.server_port, certificates.trusting()
        with TimedConnection("localhost", port, trust, 30) as connection:
            connection.tunnel = "127.0.0.1", urlsplit(url).port or 0
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"hello"
        with TimedConnection("localhost", 1, trust, 30) as connection:
            connection.tunnel = "127.0.0.1", urlsplit(url).port or 0
            with pytest.raises(HTTPException, match="the proxy answers with status 403"):
                connection.request("GET", "/")
        server.shutdown()
        thread.join()
