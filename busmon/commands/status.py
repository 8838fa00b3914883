"""Asks a running busmon whose fault it is: `/v1/status`, with the credentials of `/metrics`."""

import json
import ssl
from base64 import b64encode
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from busmon.diagnosis.verdict import FaultKind, Verdict
from busmon.settings.models import Web, host_port
from busmon.text import format_address

TIMEOUT = 5.0  # seconds for connecting, and for each part of the answer
MAX_ANSWER_BYTES = 1024 * 1024  # bytes
ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - where busmon listens


class NoAnswer(Exception):
    """It did not answer as busmon does; the text says how."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a busmon serves, and what it takes to be answered."""

    url: str
    certificate: Path | None = None  # its own, which it has to show; else one of a known CA
    key: Path | None = None  # with it, shown in turn, where every client has to show one
    headers: dict[str, str] = field(default_factory=dict, repr=False)


def where(web: Web) -> Endpoint:
    """Return where the busmon with these settings serves, seen from the same machine."""
    host, port = host_port(web.listen)
    host = ANY.get(host, host)
    scheme = "https" if web.certificate else "http"
    key = web.key if web.client_ca else None
    return Endpoint(
        f"{scheme}://{format_address(host, port)}", web.certificate, key, _credentials(web)
    )


def ask(at: Endpoint) -> Verdict:
    """Return the verdict of the busmon there; raises NoAnswer."""
    try:
        status, body = _get(at)
    except (OSError, HTTPException, ValueError) as error:
        raise NoAnswer(f"{getattr(error, 'strerror', None) or error}") from error
    if status in (401, 403):
        why = "does not let us in: name its configuration with -c, for the credentials"
        raise NoAnswer(f"{why} (status {status})")
    if status != 200:
        raise NoAnswer(f"answers with status {status}")
    return _parse(body)


def _get(at: Endpoint) -> tuple[int, bytes]:
    parts = urlsplit(at.url)
    connection: HTTPConnection
    if parts.scheme == "https":
        connection = HTTPSConnection(parts.netloc, timeout=TIMEOUT, context=_context(at))
    else:
        connection = HTTPConnection(parts.netloc, timeout=TIMEOUT)
    try:
        connection.connect()
        _identify(connection, at)
        connection.request("GET", f"{parts.path.rstrip('/')}/v1/status", headers=at.headers)
        response = connection.getresponse()
        return response.status, response.read(MAX_ANSWER_BYTES)
    finally:
        connection.close()


def _context(at: Endpoint) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if at.certificate:  # known by itself, whoever signed it and whatever name is in it
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if at.certificate and at.key:
        context.load_cert_chain(at.certificate, at.key)
    return context


def _identify(connection: HTTPConnection, at: Endpoint) -> None:
    """Refuse to talk to any other than the busmon whose certificate this is."""
    if not at.certificate or not isinstance(connection.sock, ssl.SSLSocket):
        return
    text = at.certificate.read_text("latin-1")
    first = text[text.index(ssl.PEM_HEADER) : text.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)]
    if connection.sock.getpeercert(binary_form=True) != ssl.PEM_cert_to_DER_cert(first):
        raise ValueError("shows another certificate than the one in the configuration")


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
        return Verdict(kind, bus, tuple(map(str, evidence)))
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise NoAnswer("does not answer as busmon does") from error
