"""A busmon under attack by HTTP, and the means of the attackers."""

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

from tests.samples import FEDORA_FILE
from tests.support.brokers import wait_until
from tests.support.busmon_process import Busmon
from tests.support.sockets import rest

TOKEN, REPORTS = "of-the-scraper", "of-the-tap"
BUSES = {"fedora": {"type": "replay", "rules": "packit", "files": [str(FEDORA_FILE)]}}
PUBLIC = ("/live", "/-/healthy", "/ready", "/-/ready")
HANG = 5.0  # seconds that an answer may take


@contextmanager
def attacked(directory: Path, tls: ssl.SSLContext | None = None, **web: Any) -> Iterator[Busmon]:
    """Run a busmon that takes reports, with more settings in [web], until it is ready.

    `tls` is needed if it serves TLS.
    """
    busmon = Busmon(directory, BUSES)
    file = directory / "busmon.toml"
    lines = "".join(f"{key} = {json.dumps(value, default=str)}\n" for key, value in web.items())
    file.write_text(file.read_text().replace("[web]\n", f"[web]\n{lines}"))
    busmon.configure(f'[audit.reports]\nbus = "fedora"\ntoken = "{REPORTS}"')
    with busmon:
        wait_until(lambda: ask(busmon, "/ready", tls=tls) == 200, what="busmon to be ready")
        yield busmon


def connected(busmon: Busmon) -> socket.socket:
    return socket.create_connection(("127.0.0.1", busmon.port), timeout=30)


def raw(busmon: Busmon, request: bytes) -> bytes:
    """Send bytes, and return what is received until the server closes."""
    with connected(busmon) as client:
        send(client, request)
        return rest(client)


def ask(
    busmon: Busmon, path: str, method: str = "GET", tls: ssl.SSLContext | None = None, **how: Any
) -> int:
    """Return the status of an answer, which is read to its end."""
    connection = (
        HTTPSConnection("localhost", busmon.port, timeout=HANG, context=tls)
        if tls
        else HTTPConnection("127.0.0.1", busmon.port, timeout=HANG)
    )
    try:
        connection.request(method, path, **how)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def request(target: bytes, *headers: bytes, method: bytes = b"GET") -> bytes:
    return b"\r\n".join([method + b" " + target + b" HTTP/1.1", b"Host: x", *headers, b"", b""])


def send(client: socket.socket, content: bytes) -> None:
    """Send until the server takes no more."""
    with suppress(ConnectionError):
        client.sendall(content)
