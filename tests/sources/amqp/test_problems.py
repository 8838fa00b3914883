"""A broker that refuses, and what is reported of it."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pika
import pytest

from busmon.sources.amqp.source import AmqpSource
from busmon.sources.base import Cause
from tests.support.amqp import Bus, settings
from tests.support.brokers import free_port, wait_until
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.proxy import Proxy
from tests.support.brokers.rabbitmq import USER, VHOST, RabbitMQ
from tests.support.pretenders import Pretender
from tests.support.sources import (
    Recorder,
    once,
    running,
    wait_for_problem,
)


def test_a_withdrawn_permission_is_reported_until_it_returns(bus: Bus) -> None:
    recorder = Recorder()
    user = ("set_permissions", "-p", VHOST, USER[0])
    with Proxy(bus.broker.amqp_port) as proxy:
        source = bus.source(tls=False, port=proxy.port)
        with running(source, recorder):
            bus.broker.ctl(*user, "^$", ".*", ".*")
            try:
                proxy.cut()
                wait_for_problem(
                    source, "denied: the broker refuses *ACCESS_REFUSED - *" + bus.queue + "*"
                )
                bus.numbered(range(100))
            finally:
                bus.broker.ctl(*user, ".*", ".*", ".*")
            recorder.wait_for(100)
    assert recorder.numbers() == once(100)


def test_a_queue_with_other_properties_is_reported(bus: Bus) -> None:
    with closing(pika.BlockingConnection(pika.URLParameters(bus.broker.admin_url))) as other:
        other.channel().queue_declare(bus.queue, durable=True, auto_delete=True)
    with running(bus.source(), Recorder(), connected=False) as source:
        wait_for_problem(source, "denied: the broker refuses *inequivalent arg 'auto_delete'*")
        bus.broker.delete_queue(bus.queue)
        wait_until(lambda: source.connection.connected, what="the connection")


def url(host: str, login: str = ":".join(USER), vhost: str = "%2Fpublic_pubsub") -> str:
    return f"amqp://{login}@{host}/{vhost}"


def refusals(
    broker: RabbitMQ, certificates: Certificates, directory: Path
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield what is wrong in a configuration, and the problem that is reported."""
    yield (
        {"ca": certificates.other_ca},
        "tls: *: the broker's certificate is not trusted: check ca_cert in [tls] of {file} (*)",
    )
    yield (
        {"certificate": certificates.untrusted_client("fedora")},
        "tls: *: TLS failed: check certfile and keyfile in [tls] of {file} (*alert unknown ca)",
    )
    yield (
        {"certificate": certificates.client("nobody")},
        "login: the login is not accepted: check amqp_url and [tls] in {file} "
        "(ACCESS_REFUSED - Login was refused using authentication mechanism EXTERNAL. *)",
    )
    plain = f"127.0.0.1:{broker.amqp_port}"
    yield (
        {"tls": False, "url": url(login=f"{USER[0]}:wrong-horse", host=plain)},
        "login: the login is not accepted: check amqp_url and [tls] in {file} "
        "(ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. *)",
    )
    yield (
        {"tls": False, "url": url(host=plain, vhost="none")},
        "login: logged in, but not let into the virtual host: check amqp_url in {file} "
        "(NOT_ALLOWED - vhost none not found)",
    )
    closed = f"127.0.0.1:{free_port()}"
    yield {"url": url(host=closed)}, f"network: {closed}: Connection refused"
    yield (
        {"url": url(host="-nowhere")},
        "network: -nowhere:5672: unknown host: check amqp_url in {file} (Name *)",
    )
    yield (
        {"port": broker.amqp_port},
        "tls: *: TLS failed: check that the port speaks TLS (wrong version number)",
    )
    yield (
        {"tls": False, "port": broker.amqps_port},
        "network: no AMQP there, or TLS where amqps is not said: check amqp_url in {file} (*)",
    )
    yield (
        {"url": f"amqps://fedora:@127.1:{broker.amqps_port}/%2Fpublic_pubsub"},
        "tls: *: the broker's certificate is for another host: check amqp_url in {file} (*)",
    )
    certificate, key = certificates.client("fedora")
    _, other_key = certificates.client("nobody")
    garbage, missing = directory / "garbage.pem", directory / "missing.pem"
    garbage.write_text("correct-horse")
    not_a_pair = "tls: check certfile in [tls] of {file}: *: should hold a certificate and its *"
    yield {"certificate": (garbage, key)}, not_a_pair
    yield {"certificate": (certificate, garbage)}, not_a_pair
    yield (
        {"certificate": (certificate, other_key)},
        f"tls: check keyfile in [tls] of {{file}}: {other_key} does not belong to *",
    )
    yield {"ca": garbage}, f"tls: check ca_cert in [tls] of {{file}}: {garbage}: should hold *"
    yield (
        {"certificate": (missing, key)},
        f"error: {{file}}: tls.certfile: {missing}: No such file or directory",
    )


def test_it_says_why_it_cannot_connect(
    bus: Bus, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    for toml, expected in refusals(bus.broker, certificates, bus.directory):
        file = bus.broker.fedora_toml(bus.directory / "refused.toml", **toml)
        source = AmqpSource("fedora", settings(file), bus.queue)
        with running(source, Recorder(), connected=False):
            wait_for_problem(source, expected.replace("{file}", str(file)))
        assert source.connection.connects == 0
    for secret in ("-horse", "BEGIN"):
        assert secret not in caplog.text


NOT_AMQP = [
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"\1\0\0\0\0\0\0?",  # a frame that does not end as frames do
    b"\1\0\0\0\0\0\4\xff\xff\xff\xff\xce",  # a method that there is not
    b"\2\0\0\0\0\0\1\0\xce",  # headers that are too short
    b"\0" * 8 + b"\xce" * 8,
]


@pytest.mark.parametrize("says", NOT_AMQP)
def test_a_server_that_does_not_speak_amqp_is_reported(bus: Bus, says: bytes) -> None:
    with closing(Pretender(says)) as server:
        source = bus.source(tls=False, port=server.port)
        with running(source, Recorder(), connected=False):
            wait_for_problem(source, "network: no AMQP there, *")


def test_a_certificate_renewed_on_disk_is_used_at_the_next_connection(
    bus: Bus, certificates: Certificates
) -> None:
    recorder = Recorder()
    pair = bus.directory / "client.pem", bus.directory / "client.key"
    install(certificates.untrusted_client("fedora"), pair)
    with running(bus.source(certificate=pair), recorder, connected=False) as source:
        wait_until(lambda: source.connection.failures[Cause.TLS], what="the refusal")
        install(certificates.client("fedora"), pair)
        wait_until(lambda: source.connection.connected, what="the connection")
        bus.numbered(range(100))
        recorder.wait_for(100)
    assert recorder.numbers() == once(100)


def install(pair: tuple[Path, Path], target: tuple[Path, Path]) -> None:
    for source, copy in zip(pair, target, strict=True):
        shutil.copy(source, copy)
