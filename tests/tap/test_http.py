"""A connection with one deadline, and servers that never come to an end."""

import ssl
import time
from http.client import HTTPException
from urllib.parse import urlsplit

import pytest

from busmon.tap.http import TimedConnection
from tests.support.endless import ENDLESS, endless


def ask(url: str, timeout: float, tls: ssl.SSLContext | None = None) -> bytes:
    parts = urlsplit(url)
    with TimedConnection(parts.hostname or "", parts.port or 0, tls, timeout) as connection:
        connection.request("GET", "/")
        return connection.getresponse().read()


@pytest.mark.parametrize("kind", ENDLESS)
def test_an_answer_without_end_ends_at_the_deadline_and_costs_little(kind: str) -> None:
    with endless(kind) as url:
        before = time.thread_time()
        with pytest.raises((OSError, HTTPException)):
            ask(url, timeout=0.3)
        assert time.thread_time() - before < 0.2


def test_a_server_that_never_ends_its_handshake_is_left_at_the_deadline() -> None:
    with endless("silence") as url, pytest.raises(TimeoutError):
        ask(url, 0.3, ssl.create_default_context())


def test_a_host_without_an_address_is_an_error() -> None:
    with pytest.raises(OSError, match="Name or service not known"):
        ask("http://busmon.invalid:1", 0.3)
