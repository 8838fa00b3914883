"""Who may ask what of the web server, and how much a stranger may send."""

import json
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.attack import (
    PUBLIC,
    REPORTS,
    TOKEN,
    ask,
    attacked,
    bearer,
    connected,
    raw,
    request,
    send,
)
from tests.support.brokers.certificates import Certificates
from tests.support.busmon_process import Busmon
from tests.support.sockets import rest
from tests.support.tap_reports import batch, report

PRIVATE = ("/metrics", "/metrics?name[]=busmon_build_info", "/v1/status", "/")


LOGIN = b64encode(f"me:{TOKEN}".encode()).decode()
CREDENTIALS = {
    "none": {},
    "empty": {"Authorization": ""},
    "no scheme": {"Authorization": TOKEN},
    "no token": {"Authorization": "Bearer"},
    "wrong token": bearer("wrong"),
    "longer token": bearer(f"{TOKEN}x"),
    "shorter token": bearer(TOKEN[:-1]),
    "another case": bearer(TOKEN.upper()),
    "two tokens": bearer(f"wrong, Bearer {TOKEN}"),
    "the tap's token": bearer(REPORTS),
    "not ASCII": bearer("\xff"),
    "long": bearer("x" * 50_000),
    "wrong password": {"Authorization": f"Basic {b64encode(b'me:wrong').decode()}"},
    "wrong user": {"Authorization": f"Basic {b64encode(f'you:{TOKEN}'.encode()).decode()}"},
    "not base64": {"Authorization": "Basic !"},
    "another scheme": {"Authorization": f"Digest {TOKEN}"},
    "a proxy's": {"Proxy-Authorization": f"Bearer {TOKEN}"},
    "a cookie": {"Cookie": f"token={TOKEN}"},
    "token": bearer(TOKEN),
    "login": {"Authorization": f"Basic {LOGIN}"},
}


@pytest.mark.parametrize(
    ("web", "right", "refused"),
    [
        ({"token": TOKEN}, {"token"}, 401),
        ({"username": "me", "password": TOKEN}, {"login"}, 401),
        ({"token": TOKEN, "username": "me", "password": TOKEN}, {"token", "login"}, 401),
        ({"client_ca": True}, set[str](), 403),
    ],
    ids=["token", "login", "either", "client certificate"],
)
def test_only_the_health_checks_answer_without_the_credentials(
    web: dict[str, object],
    right: set[str],
    refused: int,
    tmp_path: Path,
    certificates: Certificates,
) -> None:
    tls = None
    if "client_ca" in web:
        certificate, key = certificates.server
        web = {"client_ca": certificates.ca, "certificate": certificate, "key": key}
        tls = certificates.trusting()
    with attacked(tmp_path, tls, **web) as busmon:
        for kind, headers in CREDENTIALS.items():
            for path in PUBLIC:
                assert ask(busmon, path, tls=tls, headers=headers) == 200, (kind, path)
            for path in PRIVATE:
                expected = 200 if kind in right else refused
                assert ask(busmon, path, tls=tls, headers=headers) == expected, (kind, path)
            reported = {"Content-Type": "application/json"} | headers
            expected = 200 if kind == "the tap's token" else 401
            answered = ask(
                busmon, "/v1/reports", "POST", tls, body=json.dumps(batch()), headers=reported
            )
            assert answered == expected, kind


def posted(*headers: bytes, token: str = REPORTS) -> bytes:
    """Return the head of a request to /v1/reports."""
    shown = f"Authorization: Bearer {token}".encode()
    return request(
        b"/v1/reports", shown, b"Content-Type: application/json", *headers, method=b"POST"
    )


def test_reports_with_a_wrong_length_are_refused(attacked_busmon: Busmon) -> None:
    content = json.dumps(batch(report())).encode()
    length = b"Content-Length: %d" % len(content)
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)
    huge = json.dumps(batch(*[report()] * 100_000)).encode()
    for sent, status in (
        (posted(b"Transfer-Encoding: chunked") + chunked, b"411"),
        (posted(length, b"Transfer-Encoding: chunked") + chunked, b"400"),
        (posted(length, b"Content-Length: 0") + content, b"400"),
        (posted(length, length) + content, b"400"),
        (posted(b"Content-Length: -1") + content, b"411"),
        (posted(b"Content-Length: +%d" % len(content)) + content, b"411"),
        (posted(b"Content-Length: 0x10") + content, b"411"),
        (posted(b"Content-Length: %d, %d" % (len(content), len(content))) + content, b"411"),
        (posted(b"Content-Length: 99999999999999999999"), b"413"),
        (posted(b"Content-Length: %d" % len(huge)) + huge, b"413"),
    ):
        assert raw(attacked_busmon, sent).split()[1] == status, sent[:300]
    assert tapped(attacked_busmon) == 0
    assert raw(attacked_busmon, posted(length) + content).endswith(b"taken\n")
    assert tapped(attacked_busmon) == 1


def tapped(busmon: Busmon) -> int:
    """Return how many reports of messages were taken."""
    answer = raw(
        busmon,
        request(
            b"/metrics?name[]=busmon_tap_reports_total", b"Authorization: Bearer " + TOKEN.encode()
        ),
    )
    lines = [line for line in answer.decode().splitlines() if line.startswith("busmon_tap")]
    assert lines
    return int(sum(float(line.split()[-1]) for line in lines))


def test_strangers_who_send_much_use_no_memory(tmp_path: Path) -> None:
    headers = b"GET /live HTTP/1.0\r\n" + (b"x: " + 65000 * b"y" + b"\r\n") * 90
    reports = posted(b"Content-Length: 1048576", token="wrong") + bytes(1048575)
    with attacked(tmp_path) as busmon:
        before = busmon.peak_memory()
        for sent in (headers, reports):
            clients = [connected(busmon) for _ in range(60)]
            with ThreadPoolExecutor(len(clients)) as threads:
                list(threads.map(send, clients, [sent] * len(clients)))
            for client in clients:
                send(client, b"x")
                rest(client)
                client.close()
            assert busmon.peak_memory() - before < 30 * 1024**2


WIDE = b"".join(b',"%d":{"x":[]}' % number for number in range(60_000))


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(batch(report())).encode()[:-1] + WIDE + b"}",
        b'{"reports":[{"id":"x"' + WIDE + b"}]}",
        json.dumps(batch()).encode()[:-2] + b"1," * 500_000 + b"1]}",
        b'{"reports":' + b"[" * 1_000_000,
    ],
    ids=["unknown keys", "unknown keys of a report", "numbers", "deep"],
)
def test_odd_reports_of_a_mebibyte_cost_little_memory(content: bytes, tmp_path: Path) -> None:
    assert len(content) <= 1024 * 1024
    with attacked(tmp_path) as busmon:
        before = busmon.peak_memory()
        head = posted(b"Content-Length: %d" % len(content))
        for _ in range(3):
            assert raw(busmon, head + content).split()[1] in {b"200", b"400"}
        assert busmon.peak_memory() - before < 50 * 1024**2
