"""A broker that refuses, and what is reported of it."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.brokers import free_port
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.mosquitto import USER, Mosquitto
from tests.support.brokers.rabbitmq import USER as RABBITMQ_USER
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.mqtt import (
    ACCEPTED,
    SUBSCRIBED,
    VERSIONS,
    login,
    running,
    scripted,
    settings,
    settings_of,
)
from tests.support.sources import Recorder, wait_for_problem


def refusals(
    mosquitto: Mosquitto, certificates: Certificates
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield settings with which no connection is made, and how the reported problem ends."""
    good: dict[str, Any] = {"url": mosquitto.tls_url} | login(certificates)
    other, other_key = certificates.untrusted_client("busmon")
    closed = f"127.0.0.1:{free_port()}"
    yield (
        {"username": USER[0], "password": "wrong-horse"},
        "login: the broker refuses: Not authorized; check username, password and certificate",
    )
    yield (
        good | {"ca": certificates.other_ca},
        "tls: *: the broker's certificate is not trusted: check ca (self-signed certificate *)",
    )
    yield (
        good | {"certificate": other, "key": other_key},
        "tls: *: TLS failed: check certificate and key (*)",
    )
    yield (
        good | {"certificate": None, "key": None},
        "tls: *: TLS failed: check certificate and key (*)",
    )
    yield (
        good | {"key": other_key},
        f"tls: check key: {other_key} does not belong to the certificate {good['certificate']}",
    )
    yield (
        good | {"url": f"mqtts://127.0.0.1:{mosquitto.port}"},
        "tls: *: Connection reset by peer in the TLS handshake: check that the port speaks TLS",
    )
    yield (
        {"url": f"mqtt://127.0.0.1:{mosquitto.tls_port}"},
        "network: *: Connection reset by peer before an answer: *check whether the port wants TLS",
    )
    yield {"url": f"mqtt://{closed}"}, f"network: {closed}: Connection refused"
    yield (
        {"url": "mqtt://-nowhere"},
        "network: -nowhere:1883: unknown host: check url (Name or service not known)",
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_it_says_why_it_cannot_connect(
    mosquitto: Mosquitto,
    certificates: Certificates,
    root: str,
    version: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for changes, expected in refusals(mosquitto, certificates):
        bus = settings(mosquitto, root, version=version, **changes)
        with running(bus, Recorder(), connected=False) as source:
            wait_for_problem(source, expected)
    assert "wrong-horse" not in caplog.text


def test_a_broker_without_mqtt_5_is_told_from_one_that_wants_tls(
    rabbitmq: RabbitMQ, certificates: Certificates, root: str
) -> None:
    """RabbitMQ before 3.13 closes the connection without a word."""
    plain, tls = rabbitmq.mqtt_port, rabbitmq.mqtts_port
    user = {"username": RABBITMQ_USER[0], "password": RABBITMQ_USER[1]}
    secure = user | login(certificates)
    silent = 'network: *: closed by the broker before an answer: try version = "3.1.1", and check *'
    cases: list[tuple[str, dict[str, Any], str]] = [
        (f"mqtt://127.0.0.1:{plain}", user, f"{silent} TLS"),
        (f"mqtts://127.0.0.1:{tls}", secure, f"{silent} key"),
        (f"mqtt://127.0.0.1:{tls}", user, "error: *: check url and version (*)"),
    ]
    for url, more, expected in cases:
        with running(settings_of(url, root, **more), Recorder(), connected=False) as source:
            wait_for_problem(source, expected)
    for url, more, _ in cases[:2]:
        with running(settings_of(url, root, version="3.1.1", **more), Recorder()):
            pass


@pytest.mark.parametrize("version", VERSIONS)
def test_a_subscription_denied_is_not_a_connection(
    tmp_path: Path, certificates: Certificates, root: str, version: str
) -> None:
    with Mosquitto(tmp_path, certificates, options=deny_subscriptions(tmp_path)) as broker:
        bus = settings(broker, root, version=version)
        with running(bus, Recorder(), connected=False) as source:
            wait_for_problem(source, f"denied: may not subscribe to {root}/#: *")
            assert source.connection.connects == 0


def deny_subscriptions(directory: Path) -> list[str]:
    """Mosquitto's ACL file does not concern subscriptions; its plugin does."""
    rules = directory / "dynamic-security.json"
    allowed = {"publishClientSend": True, "publishClientReceive": True, "subscribe": False}
    rules.write_text(json.dumps({"defaultACLAccess": allowed}))
    (library,) = Path("/usr/lib").glob("**/mosquitto_dynamic_security.so")
    return [f"plugin {library}", f"plugin_opt_config_file {rules}"]


@pytest.mark.parametrize(
    ("version", "says", "expected"),
    [
        (
            "5",
            [],
            'network: *: closed by the broker before an answer: try version = "3.1.1", and *',
        ),
        (
            "3.1.1",
            [],
            "network: *: closed by the broker before an answer: check whether the port wants TLS",
        ),
        (
            "5",
            [b"\x20\x03\x00\x84\x00"],
            "error: the broker refuses: Unsupported protocol version; check version",
        ),
        (
            "3.1.1",
            [b"\x20\x02\x00\x01"],
            "error: the broker refuses: Unsupported protocol version; check version",
        ),
        (
            "5",
            [b"\x20\x02\x00\x01"],
            "error: the broker refuses: Unsupported protocol version; check version",
        ),
        (
            "5",
            [b"\x20\x03\x00\x85\x00"],
            "login: the broker refuses: Client identifier not valid; check client_id",
        ),
        (
            "3.1.1",
            [b"\x20\x02\x00\x04"],
            "login: the broker refuses: Bad user name or password; check username and password",
        ),
        (
            "3.1.1",
            [b"\x20\x02\x00\x03"],
            "network: the broker refuses: Server unavailable; trying again",
        ),
        (
            "5",
            [b"HTTP/1.1 400\r\n\r\n" * 10],
            "error: the broker breaks the protocol: check url and version (*)",
        ),
        (
            "5",
            [ACCEPTED, SUBSCRIBED + b"\xe0\x01\x8e"],
            "cancelled: Session taken over: is there another client with client_id busmon?",
        ),
        (
            "5",
            [ACCEPTED, SUBSCRIBED + b"\xe0\x01\x8b"],
            "network: closed by the broker: Server shutting down",
        ),
        ("5", [ACCEPTED, b"\xe0\x01\x98"], "network: closed by the broker: Administrative action"),
    ],
)
def test_what_a_broker_says_is_reported(version: str, says: list[bytes], expected: str) -> None:
    with scripted(says) as url:
        bus = settings_of(url, "busmon", version=version)
        with running(bus, Recorder(), connected=False) as source:
            wait_for_problem(source, expected)


def test_a_broker_that_does_not_answer_is_reported() -> None:
    answers = {"CONNACK": [], "SUBACK": [ACCEPTED]}  # at the same time, for each takes 10 s
    with contextlib.ExitStack() as stack:
        sources = {}
        for missing, says in answers.items():
            url = stack.enter_context(scripted(says, then_close=False))
            made = running(settings_of(url, "busmon"), Recorder(), connected=False)
            sources[missing] = stack.enter_context(made)
        for missing, source in sources.items():
            wait_for_problem(source, f"silent: no {missing} within 10 s")


def test_a_lower_quality_of_service_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with (
        scripted([ACCEPTED, b"\x90\x04\x00\x01\x00\x00"], then_close=False) as url,
        running(settings_of(url, "busmon"), Recorder()),
    ):
        assert "centos: busmon/# is subscribed with QoS 0 only" in caplog.text
