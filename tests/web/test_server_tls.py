"""The web server with TLS: certificates, its own and the clients'."""

import os
import shutil
import socket
import ssl
from pathlib import Path

import pytest

from busmon.settings.models import Web
from busmon.web.server import WebServer
from tests.support.brokers.certificates import Certificates
from tests.support.web_server import address, get, raw, serving, tls_settings


def test_it_serves_tls_and_nothing_else_then(certificates: Certificates) -> None:
    with serving(tls_settings(certificates)) as server:
        assert server.url.startswith("https://localhost:")
        assert get(server, "/metrics", certificates.trusting()).status == 200
        assert not raw(server, b"GET /metrics HTTP/1.0\r\n\r\n").startswith(b"HTTP")


def test_tls_before_1_2_is_refused(certificates: Certificates) -> None:
    old = certificates.trusting()
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1 is deprecated"):
        old.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with serving(tls_settings(certificates)) as server, pytest.raises(OSError):  # noqa: PT011 - of any kind
        get(server, "/metrics", old)


def test_a_client_certificate_is_asked_of_all_but_the_health_checks(
    certificates: Certificates,
) -> None:
    with serving(tls_settings(certificates, client_ca=certificates.ca)) as server:
        known = certificates.trusting(certificates.client("prometheus"))
        unknown = certificates.trusting(certificates.untrusted_client("prometheus"))
        anybody = certificates.trusting()
        for path in ("/metrics", "/"):
            assert get(server, path, known).status == 200
            refused = get(server, path, anybody)
            assert (refused.status, refused.text) == (403, "a client certificate is required\n")
        for path in ("/live", "/ready", "/-/healthy", "/-/ready"):
            assert get(server, path, anybody).status == 200
        with pytest.raises(OSError):  # noqa: PT011 - in the handshake or after it, by TLS version
            get(server, "/live", unknown)


def test_a_renewed_certificate_is_served_without_a_restart(
    certificates: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    anyone = ssl.create_default_context()
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE

    def put(source: Path, target: Path, renewal: int) -> None:
        shutil.copy(source, target)
        os.utime(target, (renewal, renewal))  # whatever the file system's clock can tell apart

    def served(server: WebServer) -> bytes | None:
        client = socket.create_connection(address(server), timeout=30)
        with anyone.wrap_socket(client) as wrapped:
            return wrapped.getpeercert(binary_form=True)

    def der(path: Path) -> bytes:
        end = "-----END CERTIFICATE-----"
        return ssl.PEM_cert_to_DER_cert(path.read_text().partition(end)[0] + end)

    other = certificates.client("renewed")
    put(certificates.server[0], certificate, 1)
    put(certificates.server[1], key, 1)
    with serving(Web(listen="localhost:0", certificate=certificate, key=key)) as server:
        assert served(server) == der(certificates.server[0])
        put(other[0], certificate, 2)
        assert served(server) == der(certificates.server[0])  # its key is not there yet
        assert "still using the old certificate" in caplog.text
        put(other[1], key, 2)
        assert served(server) == der(other[0])


def test_a_key_of_another_certificate_is_reported(certificates: Certificates) -> None:
    certificate, key = certificates.server[0], certificates.client("another")[1]
    settings = Web(certificate=certificate, key=key)
    with pytest.raises(
        OSError, match=r"^cannot serve TLS: check key in \[web\]: .* does not belong to"
    ):
        WebServer(settings)


@pytest.mark.parametrize("content", [b"", b"no certificate"])
def test_what_is_no_certificate_is_reported(
    certificates: Certificates, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "none.pem").write_bytes(content)
    settings = Web(certificate=tmp_path / "none.pem", key=certificates.server[1])
    with pytest.raises(
        OSError, match=r"^cannot serve TLS: check certificate .*none.pem with .* PEM"
    ):
        WebServer(settings)


def test_an_encrypted_key_is_reported_and_no_terminal_is_asked(certificates: Certificates) -> None:
    certificate, key = certificates.server
    settings = Web(certificate=certificate, key=certificates.encrypted(key))
    with pytest.raises(OSError, match=r"^cannot serve TLS: .*encrypted-server.key is encrypted"):
        WebServer(settings)
