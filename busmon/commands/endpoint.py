"""Asks the running service over HTTP, at the address and with the credentials that it has."""

import json
import ssl
from base64 import b64encode
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from busmon.http_client import TimedConnection
from busmon.settings.models import Web
from busmon.text import format_address, parse_address, printable
from busmon.tls import UnusableFile, client_context

TIMEOUT = 5.0  # seconds to connect and to answer
CHANGE_TIMEOUT = 10.0  # seconds for what changes the ledger; the service itself waits for 6
FOREIGN = "the answer is not that of a busmon"
MAX_ANSWER_BYTES = 1024 * 1024
# If busmon listens on every address, ask on the loopback one.
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - not bound here


class NoAnswer(Exception):
    """No busmon answered; the text says what happened instead."""

    def __init__(self, text: str, *, asked: bool = False) -> None:
        super().__init__(text)
        self.asked = asked  # whether the request was sent, so that it may have had its effect


class Refused(Exception):
    """The service does not do what is asked for; the text says why."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a busmon serves, and what a client needs to be let in."""

    url: str
    certificate: Path | None = None  # the server must have this one; None: one of a known CA
    key: Path | None = None  # of the certificate, if the server asks its clients for one
    headers: dict[str, str] = field(default_factory=dict, repr=False)


def own_endpoint(web: Web) -> Endpoint:
    """Return the endpoint of the busmon with these settings, for a client on the same machine."""
    host, port = parse_address(web.listen)
    scheme = "https" if web.certificate else "http"
    url = f"{scheme}://{format_address(LOOPBACK.get(host, host), port)}"
    key = web.key if web.client_ca else None
    return Endpoint(url, web.certificate, key, _credentials(web))


def login(username: str, password: str) -> dict[str, str]:
    """Return the header of a login."""
    encoded = b64encode(f"{username}:{password}".encode()).decode()
    return {"Authorization": f"Basic {encoded}"}


def get(endpoint: Endpoint, path: str) -> tuple[int, bytes]:
    """Return status and body of a page; raises NoAnswer."""
    return _ask(endpoint, "GET", path, None, {}, TIMEOUT)


def post(endpoint: Endpoint, path: str, content: object) -> bytes:
    """Have an operator's request done, and return the answer; raises NoAnswer and Refused."""
    sent, media_type = json.dumps(content).encode(), {"Content-Type": "application/json"}
    status, body = _ask(endpoint, "POST", path, sent, media_type, CHANGE_TIMEOUT)
    if status == 401:
        raise Refused("it knows no operator with this name and password")
    if status != 200:
        text = body.decode(errors="replace").strip()
        raise Refused(f"it answers with status {status}: {printable(text[:500])}")
    return body


def _ask(
    endpoint: Endpoint,
    method: str,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
    timeout: float,
) -> tuple[int, bytes]:
    try:
        return _request(endpoint, timeout, method, path, body, endpoint.headers | headers)
    except UnusableFile as error:
        raise NoAnswer(error.why) from error
    except (OSError, HTTPException, ValueError) as error:
        raise NoAnswer(_reason(error)) from error


def _request(
    endpoint: Endpoint, timeout: float, method: str, path: str, *content: Any
) -> tuple[int, bytes]:
    parts = urlsplit(endpoint.url)
    tls = _context(endpoint) if parts.scheme == "https" else None
    port = parts.port or (443 if tls else 80)
    host = parts.hostname or ""
    with TimedConnection(host, port, tls, timeout, MAX_ANSWER_BYTES) as connection:
        connection.connect()
        _check_certificate(connection, endpoint)
        try:
            connection.request(method, f"{parts.path.rstrip('/')}{path}", *content)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, HTTPException) as error:
            raise NoAnswer(_reason(error), asked=True) from error


def _reason(error: Exception) -> str:
    return f"{getattr(error, 'strerror', None) or error}"


def _context(endpoint: Endpoint) -> ssl.SSLContext:
    pair = (endpoint.certificate, endpoint.key) if endpoint.key else (None, None)
    context = client_context(None, *pair)
    if endpoint.certificate:  # _check_certificate compares it: its signer and name do not matter
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _check_certificate(connection: TimedConnection, endpoint: Endpoint) -> None:
    """Raise ValueError if the server shows another certificate than the expected one."""
    shown = connection.peer_certificate()
    if not endpoint.certificate or shown is None:
        return
    text = endpoint.certificate.read_text("latin-1")
    first = text[text.index(ssl.PEM_HEADER) : text.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)]
    if shown != ssl.PEM_cert_to_DER_cert(first):
        raise ValueError("the server shows another certificate than the one in the configuration")


def _credentials(web: Web) -> dict[str, str]:
    if web.token:
        return {"Authorization": f"Bearer {web.token.get_secret_value()}"}
    if web.username is not None and web.password:
        return login(web.username, web.password.get_secret_value())
    return {}
