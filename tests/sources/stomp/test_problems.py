"""What keeps a source from its broker, and what is reported and logged of it."""

import logging
import re
import socket
from typing import Any
from uuid import uuid4

import pytest

from busmon.sources import line
from busmon.sources.base import Cause
from tests.support.brokers import free_port, wait_until
from tests.support.brokers.activemq import PASSCODE, USER, ActiveMQ, Publisher
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.proxy import Proxy
from tests.support.brokers.rabbitmq import USER as RABBIT_USER
from tests.support.brokers.rabbitmq import VHOST, RabbitMQ
from tests.support.sources import Recorder, once, wait_for_problem
from tests.support.stomp import BEAT, bus, numbered, running, with_tls


def test_a_client_certificate_is_a_login(rabbitmq: RabbitMQ, certificates: Certificates) -> None:
    certificate, key = certificates.client("fedora")
    settings = with_tls(certificates, certificate=certificate, key=key)
    queue = str(uuid4())
    rabbitmq.declare_queue(queue, ["test.by-certificate"])
    port, topic = rabbitmq.stomps_port, "/exchange/amq.topic/test.by-certificate"
    recorder = Recorder()
    with running(bus(port, f"/amq/queue/{queue}", vhost=VHOST, **settings), recorder):
        name, passcode = RABBIT_USER
        with Publisher(rabbitmq.stomp_port, VHOST, username=name, passcode=passcode) as publisher:
            publisher.send(topic, *numbered(range(100)))
        recorder.wait_for(100)
    assert recorder.numbers() == once(100)
    rabbitmq.delete_queue(queue)


def test_what_keeps_a_source_from_its_broker_is_explained(
    activemq: ActiveMQ,
    rabbitmq: RabbitMQ,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(line, "CONNECT_TIMEOUT", 60.0)  # what is slow is not silent
    plain, tls, rabbit = activemq.port, activemq.tls_port, rabbitmq.stomp_port
    trusted = with_tls(certificates)
    stranger, key = certificates.untrusted_client("busmon")
    anonymous = {"tls": True, "ca": certificates.ca}
    user, passcode = RABBIT_USER
    at_rabbit = {"vhost": VHOST, "login": user, "passcode": passcode}
    elsewhere = {"brokers": ["-nowhere:61613"]}
    misnamed = trusted | {"brokers": [f"127.1:{tls}"]}  # another name of 127.0.0.1
    bad_ca = with_tls(certificates, ca=certificates.client("busmon")[1])
    wrong_key = with_tls(certificates, key=certificates.client("somebody")[1])
    cases: list[tuple[int, dict[str, Any], Cause, str]] = [
        (
            tls,
            with_tls(certificates, ca=certificates.other_ca),
            Cause.TLS,
            "not trusted: check ca",
        ),
        (tls, misnamed, Cause.TLS, "IP address mismatch|Hostname mismatch"),
        (tls, with_tls(certificates, certificate=stranger, key=key), Cause.TLS, "certificate"),
        (tls, anonymous, Cause.TLS, "check certificate and key"),
        (tls, bad_ca, Cause.TLS, "check ca: .*busmon.key: should hold a certificate"),
        (tls, wrong_key, Cause.TLS, "check key: .*does not belong to the certificate"),
        (rabbit, trusted, Cause.TLS, "check that the port speaks TLS"),
        (tls, {}, Cause.NETWORK, "check tls"),
        (plain, {"login": USER, "passcode": "wrong"}, Cause.LOGIN, "check login, passcode"),
        (plain, {"login": "nobody", "passcode": PASSCODE}, Cause.LOGIN, "check login"),
        (rabbit, at_rabbit | {"passcode": "wrong"}, Cause.LOGIN, "check login, passcode"),
        (rabbit, at_rabbit | {"vhost": "/none"}, Cause.DENIED, "check vhost"),
        (rabbit, at_rabbit | {"destinations": ["/no/such"]}, Cause.DENIED, "Unknown destination"),
        (plain, {"destinations": ["/topic/private.x"]}, Cause.DENIED, "not authorized to read"),
        (plain, elsewhere, Cause.NETWORK, "-nowhere:61613: "),
        (free_port(), {}, Cause.NETWORK, "refused"),
    ]
    wrong = []
    for port, settings, cause, text in cases:
        with running(bus(port, **settings), Recorder(), connected=False) as source:
            problem = str(
                wait_until(lambda: +source.connection.failures and source.connection.problem())
            )
        if set(+source.connection.failures) != {cause} or not re.search(text, problem):
            wrong.append(f"{problem!r} instead of {cause} {text!r}")
        assert "wrong" not in problem
    assert not wrong


def test_a_broker_that_never_answers_is_silent(activemq: ActiveMQ) -> None:
    with Proxy(activemq.port) as proxy:
        proxy.swallow()
        with running(bus(proxy.port, heartbeat=BEAT), Recorder(), connected=False) as source:
            wait_until(lambda: source.connection.failures[Cause.SILENT])


def test_neither_passcode_nor_body_is_logged_at_any_level(
    activemq: ActiveMQ, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.CRITICAL, "stomp.py")  # the publisher's
    settings = bus(activemq.port, "/queue/test.logged", login=USER, passcode=PASSCODE)
    recorder = Recorder()
    with running(settings, recorder):
        with Publisher(activemq.port) as publisher:
            publisher.send("/queue/test.logged", {"n": "secret"})
        recorder.wait_for(1)
    assert PASSCODE not in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("version:1.2", None),
        ("version:1.2\nheart-beat:0,0", None),
        ("version:1.1\nheart-beat:1000,1000", "network: * the broker speaks STOMP 1.1, not 1.2"),
    ],
)
def test_a_broker_without_heartbeats_is_warned_of_an_old_one_refused(
    answer: str, problem: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        settings = bus(port, "/queue/x")
        with running(settings, Recorder(), connected=False) as source:
            client, _ = listener.accept()
            with client:
                client.recv(4096)
                client.sendall(f"CONNECTED\n{answer}\n\n\0".encode())
                if problem:
                    wait_for_problem(source, problem)
                    return
                client.recv(4096)
                client.sendall(b"RECEIPT\nreceipt-id:/queue/x\n\n\0")
                wait_until(lambda: source.connection.connected)
    assert f"127.0.0.1:{port} sends no heart-beats" in caplog.text


def test_a_client_id_that_is_in_use_is_a_problem_of_its_own(activemq: ActiveMQ) -> None:
    settings = bus(activemq.port, "/topic/test.twice", client_id="twice")
    with running(settings, Recorder()), running(settings, Recorder(), connected=False) as second:
        wait_for_problem(second, "denied: *: is there another client with this client_id? *")
