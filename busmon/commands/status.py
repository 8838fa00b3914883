"""`busmon status`: ask a running busmon for its verdict.

The endpoint is `/v1/status`; it takes the credentials of `/metrics`.
"""

import json
import ssl
from base64 import b64encode
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from busmon.diagnosis.verdict import FaultKind, Verdict
from busmon.http_client import TimedConnection
from busmon.settings.models import Web
from busmon.sources.tls import UnusableFile, client_context
from busmon.text import format_address, parse_address

TIMEOUT = 5.0  # seconds to connect and to answer
MAX_ANSWER_BYTES = 1024 * 1024
LAST_TIME = 253_402_300_800  # Unix time of the end of the year 9999
# If busmon listens on every address, ask on the loopback one.
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - not bound here


class NoAnswer(Exception):
    """No busmon answered; the text says what happened instead."""


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


def fetch_verdict(endpoint: Endpoint) -> Verdict:
    """Return the verdict of the busmon that serves there; raises NoAnswer."""
    try:
        status, body = _get(endpoint)
    except UnusableFile as error:
        raise NoAnswer(error.why) from error
    except (OSError, HTTPException, ValueError) as error:
        raise NoAnswer(f"{getattr(error, 'strerror', None) or error}") from error
    if status in (401, 403):
        raise NoAnswer(
            f"refused (status {status}): give its configuration with -c, for credentials"
        )
    if status != 200:
        raise NoAnswer(f"answered with status {status}")
    return _parse(body)


def _get(endpoint: Endpoint) -> tuple[int, bytes]:
    parts = urlsplit(endpoint.url)
    tls = _context(endpoint) if parts.scheme == "https" else None
    port = parts.port or (443 if tls else 80)
    host = parts.hostname or ""
    with TimedConnection(host, port, tls, TIMEOUT, MAX_ANSWER_BYTES) as connection:
        connection.connect()
        _check_certificate(connection, endpoint)
        connection.request("GET", f"{parts.path.rstrip('/')}/v1/status", headers=endpoint.headers)
        response = connection.getresponse()
        return response.status, response.read()


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
        login = f"{web.username}:{web.password.get_secret_value()}"
        return {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}
    return {}


def _parse(body: bytes) -> Verdict:
    try:
        answer: Any = json.loads(body)
        kind, bus, evidence = FaultKind(answer["kind"]), str(answer["bus"]), answer["evidence"]
        since = None if answer["since"] is None else float(answer["since"])
        if since is not None and not 0 <= since < LAST_TIME:
            raise ValueError("no time")
        return Verdict(kind, bus, tuple(map(str, evidence)), since)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise NoAnswer("the answer is not that of a busmon") from error
