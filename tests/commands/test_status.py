"""`busmon status`: asks a running busmon, and tells also where there is none."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from prometheus_client import CollectorRegistry

from busmon.diagnosis.verdict import FaultKind, Verdict
from busmon.settings.models import Web
from busmon.web.app import make_app
from busmon.web.server import WebServer
from tests.cli.test_cli import SECRET, busmon
from tests.support.brokers import free_port
from tests.support.brokers.certificates import Certificates

WELL = Verdict(FaultKind.NONE, "", ("fedora: connected", "14 topics\nas usual"))
LISTENER = Verdict(FaultKind.LISTENER, "fedora", ("fedora: the listener is down",))


@contextmanager
def serving(web: Web, fault: Verdict) -> Iterator[str]:
    app = make_app(web, CollectorRegistry(), list, str, status=fault._asdict)
    server = WebServer(web, app)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


def configuration(directory: Path, **web: object) -> Path:
    path = directory / "busmon.toml"
    settings = "".join(f'{key} = "{value}"\n' for key, value in web.items())
    (directory / "none.jsonl").touch()
    path.write_text(
        f"[web]\n{settings}"
        '[ledger]\npath = ":memory:"\n'
        '[buses.fedora]\ntype = "replay"\nrules = "all"\nfiles = ["none.jsonl"]\n'
    )
    return path


def test_the_verdict_and_its_evidence_are_printed_a_line_each():
    with serving(Web(listen="127.0.0.1:0"), WELL) as url:
        assert busmon("status", "--url", url).stdout == (
            "none\n  fedora: connected\n  14 topics as usual\n"
        )
    with serving(Web(listen="127.0.0.1:0"), LISTENER) as url:
        told = busmon("status", "--url", url, status=1).stdout
        assert told == "listener\n  fedora: the listener is down\n"


def test_what_came_over_a_bus_orders_no_terminal_about():
    fault = Verdict(FaultKind.PUBLISHER, "fedora", ("fedora: a.\x1b[2K\x1b[1Atopic is silent",))
    with serving(Web(listen="127.0.0.1:0"), fault) as url:
        told = busmon("status", "--url", url, status=1).stdout
    assert told == "publisher\n  fedora: a.\\x1b[2K\\x1b[1Atopic is silent\n"


@pytest.mark.parametrize("secrets", [{}, {"token": SECRET}, {"username": "me", "password": SECRET}])
def test_address_and_credentials_are_those_of_the_configuration(tmp_path: Path, secrets):
    listen = f"127.0.0.1:{free_port()}"
    path = configuration(tmp_path, listen=listen.replace("127.0.0.1", "0.0.0.0"), **secrets)
    with serving(Web(listen=listen, **secrets), WELL) as url:
        assert busmon("status", "-c", path).stdout.startswith("none\n")
        assert busmon("status", "-c", path, "--url", url).stdout.startswith("none\n")
        if secrets:
            told = busmon("status", "--url", url, status=1).stdout
            assert "does not let us in" in told
            assert "-c" in told


def test_a_busmon_with_tls_is_known_by_its_certificate(tmp_path: Path, certificates: Certificates):
    listen = f"127.0.0.1:{free_port()}"
    certificate, key = certificates.server
    pair = {"certificate": certificate, "key": key}
    path = configuration(tmp_path, listen=listen, token=SECRET, **pair)
    with serving(Web(listen=listen, token=SECRET, **pair), WELL) as url:
        assert busmon("status", "-c", path).stdout.startswith("none\n")
        assert "certificate verify failed" in busmon("status", "--url", url, status=1).stdout
    other, other_key = certificates.untrusted_client("other")
    with serving(Web(listen=listen, certificate=other, key=other_key), WELL):
        told = busmon("status", "-c", path, status=1).stdout
        assert "shows another certificate than the one in the configuration" in told


def test_a_busmon_that_asks_for_a_clients_certificate_takes_its_own(
    tmp_path: Path, certificates: Certificates
):
    listen = f"127.0.0.1:{free_port()}"
    certificate, key = certificates.client("busmon")
    settings = {"certificate": certificate, "key": key, "client_ca": certificates.ca}
    path = configuration(tmp_path, listen=listen, **settings)
    with serving(Web(listen=listen, **settings), WELL):
        assert busmon("status", "-c", path).stdout.startswith("none\n")


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        log_message: Callable[..., None] = lambda *_: None

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("code", "body", "told"),
    [
        (404, b"", "answers with status 404"),
        (200, b"<html>", "does not answer as busmon does"),
        (200, b"[]", "does not answer as busmon does"),
        (200, b'{"kind": "moon", "bus": "", "evidence": []}', "does not answer as busmon does"),
    ],
)
def test_what_answers_otherwise_is_not_taken_for_busmon(code: int, body: bytes, told: str):
    with answering(code, body) as url:
        ended = busmon("status", "--url", url, status=1)
    assert ended.stdout == f"busmon\n  busmon does not answer at {url}: {told}\n"


def test_a_busmon_that_does_not_run_is_told(tmp_path: Path):
    url = f"http://127.0.0.1:{free_port()}"
    told = busmon("status", "--url", url, status=1).stdout
    assert told == f"busmon\n  busmon does not answer at {url}: Connection refused\n"
    assert busmon("status", "-c", configuration(tmp_path, listen=url[7:]), status=1).stdout == told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--url", "localhost"], "should be http://HOST:PORT"),
        (["-c", "missing.toml"], "missing.toml: No such file"),
    ],
)
def test_a_wrong_command_line_or_configuration_is_status_2(words: list[str], told: str):
    assert told in busmon("status", *words, status=2).stderr
