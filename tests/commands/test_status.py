"""`busmon status`, against a service that runs, is another, or is not there."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from busmon.diagnosis.verdict import FaultKind, Verdict
from busmon.settings.models import Web
from busmon.web.app import make_app
from busmon.web.health import ready_view
from tests.support import http_server, web_server
from tests.support.brokers import free_port
from tests.support.brokers.certificates import Certificates
from tests.support.command import busmon
from tests.support.endless import endless
from tests.support.http_server import Silent

SECRET = "tr0ub4dor"
OTHER_ANSWER = "the answer is not that of a busmon"
WELL = Verdict(FaultKind.NONE, ("connected", "14 topics\nas usual"), since=1_600_000_000.0)
LISTENER = Verdict(FaultKind.LISTENER, ("the listener is down",), since=1_700_000_000.0)


@contextmanager
def serving(web: Web, *verdicts: Verdict, lost: Sequence[str] = ()) -> Iterator[str]:
    buses = dict(
        zip(("fedora", "centos"), (verdict._asdict() for verdict in verdicts), strict=False)
    )
    gaps = [{"bus": bus, "stage": "worker", "messages": 3, "oldest": 0.0} for bus in lost]
    status = {"buses": buses, "open_gaps": gaps}
    app = make_app(web, CollectorRegistry(), ready_view(list), status=lambda: status)
    with web_server.serving(web, app) as server:
        yield server.url


def web(**settings: Any) -> Web:
    return Web.model_validate(settings)


def configuration(directory: Path, **web: Any) -> Path:
    path = directory / "busmon.toml"
    settings = "".join(f'{key} = "{value}"\n' for key, value in web.items())
    (directory / "none.jsonl").touch()
    path.write_text(
        f"[web]\n{settings}"
        '[ledger]\npath = ":memory:"\n'
        '[buses.fedora]\ntype = "replay"\nrules = "all"\nfiles = ["none.jsonl"]\n'
    )
    return path


def test_the_verdict_on_each_bus_and_its_evidence_are_printed() -> None:
    well = "fedora: none\n  connected\n  14 topics as usual\n"
    with serving(Web(listen="127.0.0.1:0"), WELL) as url:
        assert busmon("status", "--url", url).stdout == well
    with serving(Web(listen="127.0.0.1:0"), WELL, LISTENER) as url:
        output = busmon("status", "--url", url, status=1).stdout
    seen = "since 2023-11-14 22:13:20 UTC"
    assert output == f"{well}centos: listener, {seen}\n  the listener is down\n"


def test_what_is_lost_of_a_bus_that_was_removed_is_printed() -> None:
    with serving(Web(listen="127.0.0.1:0"), WELL, lost=("brew", "fedora", "brew")) as url:
        last = busmon("status", "--url", url).stdout.splitlines()[-1]
    assert last == "brew: no longer configured, but 6 messages still lost (busmon gaps)"


def test_a_service_that_says_continue_without_end_is_left() -> None:
    with endless("continue") as url:
        assert "the answer is too long" in busmon("status", "--url", url, status=1).stdout


def test_control_characters_in_the_evidence_are_escaped() -> None:
    verdict = Verdict(FaultKind.PUBLISHER, ("a.\x1b[2K\x1b[1Atopic is silent",))
    with serving(Web(listen="127.0.0.1:0"), verdict) as url:
        output = busmon("status", "--url", url, status=1).stdout
    assert output == "fedora: publisher\n  a.\\x1b[2K\\x1b[1Atopic is silent\n"


@pytest.mark.parametrize("secrets", [{}, {"token": SECRET}, {"username": "me", "password": SECRET}])
def test_address_and_credentials_come_from_the_configuration(
    tmp_path: Path, secrets: dict[str, str]
) -> None:
    listen = f"127.0.0.1:{free_port()}"
    path = configuration(tmp_path, listen=listen.replace("127.0.0.1", "0.0.0.0"), **secrets)
    with serving(web(listen=listen, **secrets), WELL) as url:
        assert busmon("status", "-c", path).stdout.startswith("fedora: none\n")
        assert busmon("status", "-c", path, "--url", url).stdout.startswith("fedora: none\n")
        if secrets:
            output = busmon("status", "--url", url, status=1).stdout
            assert "refused (status 401)" in output
            assert "-c" in output


def test_a_service_with_tls_is_recognized_by_its_certificate(
    tmp_path: Path, certificates: Certificates
) -> None:
    listen, elsewhere = (f"127.0.0.1:{free_port()}" for _ in range(2))
    certificate, key = certificates.server
    pair = {"certificate": certificate, "key": key}
    path = configuration(tmp_path, listen=listen, token=SECRET, **pair)
    with serving(web(listen=listen, token=SECRET, **pair), WELL) as url:
        assert busmon("status", "-c", path).stdout.startswith("fedora: none\n")
        assert "certificate verify failed" in busmon("status", "--url", url, status=1).stdout
    other, other_key = certificates.untrusted_client("other")
    path = configuration(tmp_path, listen=elsewhere, token=SECRET, **pair)
    with serving(Web(listen=elsewhere, certificate=other, key=other_key), WELL):
        output = busmon("status", "-c", path, status=1).stdout
        assert "the server shows another certificate than the one in the configuration" in output


def test_a_service_that_requires_a_client_certificate_gets_its_own(
    tmp_path: Path, certificates: Certificates
) -> None:
    listen = f"127.0.0.1:{free_port()}"
    certificate, key = certificates.client("busmon")
    settings = {"certificate": certificate, "key": key, "client_ca": certificates.ca}
    path = configuration(tmp_path, listen=listen, **settings)
    with serving(web(listen=listen, **settings), WELL):
        assert busmon("status", "-c", path).stdout.startswith("fedora: none\n")


def test_an_encrypted_key_is_an_error_that_names_the_file(
    tmp_path: Path, certificates: Certificates
) -> None:
    certificate, key = certificates.client("busmon")
    encrypted = certificates.encrypted(key)
    settings = {"certificate": certificate, "key": encrypted, "client_ca": certificates.ca}
    path = configuration(tmp_path, listen=f"127.0.0.1:{free_port()}", **settings)
    errors = busmon("status", "-c", path, status=2).stderr
    assert f"web.key: {encrypted} is encrypted, and busmon has no pass phrase" in errors


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    class Handler(Silent, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

    with http_server.serving(Handler) as url:
        yield url


@pytest.mark.parametrize(
    ("code", "body", "problem"),
    [
        (404, b"", "answered with status 404"),
        (503, b"<html>\nof a proxy", "answered with status 503"),
        (503, b"standby: \033 leads\nmore\n", r"answered with status 503: standby: \x1b leads"),
        (200, b"<html>", OTHER_ANSWER),
        (200, b"[]", OTHER_ANSWER),
        (200, b'{"buses": []}', OTHER_ANSWER),
        *(
            (200, f'{{"buses": {{"fedora": {verdict}}}}}'.encode(), OTHER_ANSWER)
            for verdict in (
                "null",
                '{"kind": "bus"}',
                '{"kind": "moon", "evidence": [], "since": null}',
                '{"kind": "bus", "evidence": [], "since": "yesterday"}',
                '{"kind": "bus", "evidence": [], "since": -1}',
                '{"kind": "bus", "evidence": [], "since": 1e300}',
                '{"kind": "bus", "evidence": [], "since": NaN}',
            )
        ),
    ],
)
def test_another_service_is_not_taken_for_busmon(code: int, body: bytes, problem: str) -> None:
    with answering(code, body) as url:
        ended = busmon("status", "--url", url, status=1)
    assert ended.stdout == f"busmon does not answer at {url}: {problem}\n"


def test_a_service_that_does_not_run_is_reported(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    output = busmon("status", "--url", url, status=1).stdout
    assert output == f"busmon does not answer at {url}: Connection refused\n"
    assert (
        busmon("status", "-c", configuration(tmp_path, listen=url[7:]), status=1).stdout == output
    )


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--url", "localhost"], "should be http://HOST:PORT"),
        (["-c", "missing.toml"], "missing.toml: No such file"),
    ],
)
def test_a_wrong_command_line_or_configuration_is_status_2(words: list[str], error: str) -> None:
    assert error in busmon("status", *words, status=2).stderr
