"""Certificates for the test brokers and their clients, made anew for each session."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

import trustme

HOSTS = ("localhost", "127.0.0.1", "broker.example")  # in the brokers' certificate


class Certificates:
    """PEM files in one directory: two authorities, of which the brokers trust only one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self._other_ca = trustme.CA(
            organization_name="Somebody else", key_type=trustme.KeyType.ECDSA
        )
        self.ca = directory / "ca.pem"
        self.other_ca = directory / "other-ca.pem"
        self._ca.cert_pem.write_to_path(str(self.ca))
        self._other_ca.cert_pem.write_to_path(str(self.other_ca))
        self.server = self._write("server", self._ca.issue_cert(*HOSTS))

    def client(self, common_name: str, *, expired: bool = False) -> tuple[Path, Path]:
        """Return the certificate and key of a client that the brokers trust, or did until 2021.

        They are new each time, in the same files.
        """
        return self._client(self._ca, common_name, common_name, expired=expired)

    def untrusted_client(self, common_name: str) -> tuple[Path, Path]:
        """Return the certificate and key of a client whose authority nobody trusts."""
        return self._client(self._other_ca, common_name, f"untrusted-{common_name}")

    def trusting(self, pair: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        """Return what a client connects with that trusts the brokers, and is known by `pair`."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if pair:
            context.load_cert_chain(*pair)
        return context

    def _client(
        self, ca: trustme.CA, common_name: str, name: str, *, expired: bool = False
    ) -> tuple[Path, Path]:
        year = datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)
        not_before, not_after = year if expired else (None, None)
        cert = ca.issue_cert(
            # Not only the common name: a certificate must have a subject alternative name.
            f"{common_name}@example.org",
            common_name=common_name,
            not_before=not_before,
            not_after=not_after,
        )
        return self._write(f"client-{name}", cert)

    def _write(self, name: str, cert: trustme.LeafCert) -> tuple[Path, Path]:
        certificate = self._directory / f"{name}.pem"
        key = self._directory / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in cert.cert_chain_pems))
        cert.private_key_pem.write_to_path(str(key))
        return certificate, key
