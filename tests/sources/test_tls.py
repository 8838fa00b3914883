"""The TLS of the sources as clients."""

import gc
import json
import re
import select
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from busmon.sources.base import Cause, Disconnected
from busmon.sources.line import Broker, Line
from busmon.tls import UnusableFile, client_context
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.proxy import RESET
from tests.support.terminal import run_on_terminal

Files = tuple[Path | None, Path | None, Path | None]  # ca, certificate, key


def test_the_broker_needs_a_trusted_certificate_with_its_name(certificates: Certificates) -> None:
    context = client_context(certificates.ca, *certificates.client("busmon"))
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_a_ca_without_critical_constraints_is_accepted_as_fedoras_is(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_in_python_3_13(cafile: Path) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cafile)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    ca, pair = certificates.lax_server()
    monkeypatch.setattr(ssl, "create_default_context", as_in_python_3_13)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"[Bb]asic [Cc]onstraints"):
        shake_hands(as_in_python_3_13(ca), pair)
    shake_hands(client_context(ca, None, None), pair)


def shake_hands(client: ssl.SSLContext, server_pair: tuple[Path, Path]) -> None:
    """Let a client and a server of these certificates agree, without a network."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*server_pair)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while ends:
        for end in ends.copy():
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                pass


UNUSABLE: dict[str, tuple[Callable[[Certificates, Path], Files], str, str]] = {
    "a CA that does not exist": (
        lambda _, junk: (junk.parent / "none", None, None),
        "ca",
        "{directory}/none: No such file or directory",
    ),
    "a CA that is none": (
        lambda _, junk: (junk, None, None),
        "ca",
        "{directory}/junk: should hold a certificate in PEM format (no certificate or crl found)",
    ),
    "a certificate that does not exist": (
        lambda has, junk: (None, junk.parent / "none", has.client("busmon")[1]),
        "certificate",
        "{directory}/none with {key}: No such file or directory",
    ),
    "a certificate that is none": (
        lambda has, junk: (None, junk, has.client("busmon")[1]),
        "certificate",
        "{directory}/junk with {key}: should hold a certificate and its private key in PEM format",
    ),
    "the key of another certificate": (
        lambda has, _: (None, has.client("busmon")[0], has.client("somebody")[1]),
        "key",
        "{key} does not belong to the certificate {certificate}",
    ),
    "an encrypted key": (
        lambda has, _: (None, has.client("busmon")[0], has.encrypted(has.client("busmon")[1])),
        "key",
        "{key} is encrypted, and busmon has no pass phrase: store the key unencrypted",
    ),
}


@pytest.mark.parametrize(("files", "setting", "why"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(
    certificates: Certificates,
    tmp_path: Path,
    files: Callable[[Certificates, Path], Files],
    setting: str,
    why: str,
) -> None:
    junk = tmp_path / "junk"
    junk.write_text("junk\n")
    ca, certificate, key = files(certificates, junk)
    with pytest.raises(UnusableFile) as unusable:
        client_context(ca, certificate, key)
    assert unusable.value.setting == setting
    assert unusable.value.why == why.format(directory=tmp_path, certificate=certificate, key=key)
    assert str(unusable.value) == f"check {setting}: {unusable.value.why}"


CONFIGURATION = """
[web]
{pair}
[buses.centos]
type = "mqtt"
rules = "centos"
url = "mqtts://localhost"
client_id = "busmon"
topics = ["git.centos.org/#"]
{pair}
[buses.umb]
type = "stomp"
rules = "all"
brokers = ["localhost:61613"]
destinations = ["/topic/a"]
tls = true
{pair}
[buses.fedora]
type = "amqp"
rules = "packit"
config = "fedora.toml"
"""
LISTENER = """
amqp_url = "amqps://localhost"
[tls]
ca_cert = {ca}
certfile = {certificate}
keyfile = {key}
"""


@pytest.fixture
def encrypted(certificates: Certificates, tmp_path: Path) -> Path:
    """A configuration with an encrypted key in `[web]` and for each of three buses."""
    certificate, key = certificates.client("busmon")
    encrypted = certificates.encrypted(key)
    names = {"ca": certificates.ca, "certificate": certificate, "key": encrypted}
    quoted = {name: json.dumps(str(path)) for name, path in names.items()}
    pair = "certificate = {certificate}\nkey = {key}\n".format(**quoted)
    (tmp_path / "fedora.toml").write_text(LISTENER.format(**quoted))
    (tmp_path / "busmon.toml").write_text(CONFIGURATION.format(pair=pair))
    return tmp_path / "busmon.toml"


def test_check_config_names_encrypted_keys_and_asks_no_terminal(
    certificates: Certificates, encrypted: Path
) -> None:
    status, shown = run_on_terminal("-m", "busmon", "check-config", "-c", str(encrypted))
    key = certificates.encrypted(certificates.client("busmon")[1])
    why = f"{key} is encrypted, and busmon has no pass phrase: store the key unencrypted"
    toml = encrypted.parent / "fedora.toml"
    assert shown.splitlines() == [
        f"busmon: web.key: {why}",
        f"busmon: buses.centos.key: {why}",
        f"busmon: buses.umb.key: {why}",
        f"busmon: buses.fedora.config: {toml}: tls.keyfile: {why}",
    ]
    assert status == 2


CONNECT = """
import sys, threading
from types import SimpleNamespace
from busmon.sources.amqp.settings import AmqpBus
from busmon.sources.amqp.source import AmqpSource

source = AmqpSource("bus", AmqpBus(type="amqp", rules="all", config=sys.argv[1]), "queue")
thread = threading.Thread(target=source.run, args=(SimpleNamespace(check=lambda: None),))
thread.start()
while not source.connection.failures.total():
    pass
print(source.connection.problem())
source.stop()
thread.join()
"""


def test_a_key_encrypted_later_ends_an_attempt_and_asks_no_terminal(encrypted: Path) -> None:
    toml = encrypted.parent / "fedora.toml"
    status, shown = run_on_terminal("-c", CONNECT, str(toml))
    reason = rf"tls: check keyfile in \[tls\] of {toml}: .* is encrypted, and .*\n"
    assert re.search(reason, shown)
    assert status == 0


# Then Python's ssl leaves the socket to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("reset", [True, False])
def test_a_connection_that_ends_before_tls_begins_says_why(reset: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        class Context(ssl.SSLContext):
            def wrap_socket(self, sock: socket.socket, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
                peer, _ = server.accept()
                if reset:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                peer.close()
                ended = select.poll()
                ended.register(sock, select.POLLIN)
                assert ended.poll(60_000)
                return super().wrap_socket(sock, *args, **kwargs)

        port = server.getsockname()[1]
        context = Context(ssl.PROTOCOL_TLS_CLIENT)
        with pytest.raises(Disconnected) as raised:
            Line(
                Broker(host="127.0.0.1", port=port, context=context, address_setting="url"), Event()
            )
    assert raised.value.cause is Cause.TLS
    assert f"127.0.0.1:{port}: " in raised.value.detail
    assert raised.value.detail.endswith(" in the TLS handshake: check that the port speaks TLS")
    del raised
    gc.collect()
