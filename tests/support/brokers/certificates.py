"""Certificates for the test brokers and their clients, new for each session."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

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
        """Return certificate and key of a client that the brokers trust; `expired`: until 2021.

        They are new each time, in the same files.
        """
        return self._client(self._ca, common_name, common_name, expired=expired)

    def untrusted_client(self, common_name: str) -> tuple[Path, Path]:
        """Return certificate and key of a client from an authority that nobody trusts."""
        return self._client(self._other_ca, common_name, f"untrusted-{common_name}")

    def encrypted(self, key: Path) -> Path:
        """Return a file with this key that needs a pass phrase."""
        encrypted = key.with_name(f"encrypted-{key.name}")
        loaded = load_pem_private_key(key.read_bytes(), None)
        form = Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pass phrase")
        encrypted.write_bytes(loaded.private_bytes(*form))
        return encrypted

    def lax_server(self) -> tuple[Path, tuple[Path, Path]]:
        """Return a CA whose basic constraints are not critical, and a server's pair from it."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lax")])
        server = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])

        def issue(subject: x509.Name, extension: x509.ExtensionType) -> x509.Certificate:
            return (
                x509.CertificateBuilder(name, subject, key.public_key(), 1 + (subject == server))
                .not_valid_before(now - timedelta(days=1))
                .not_valid_after(now + timedelta(days=1))
                .add_extension(extension, critical=False)
                .add_extension(
                    x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
                )
                .add_extension(
                    x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()),
                    critical=False,
                )
                .sign(key, SHA256())
            )

        ca, certificate, key_file = (
            self._directory / f"lax-{of}" for of in ("ca", "server", "key")
        )
        names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        ca.write_bytes(issue(name, constraints).public_bytes(Encoding.PEM))
        certificate.write_bytes(issue(server, names).public_bytes(Encoding.PEM))
        form = Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        key_file.write_bytes(key.private_bytes(*form))
        return ca, (certificate, key_file)

    def trusting(self, pair: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        """Return a context for a client that trusts the brokers and has the certificate `pair`."""
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
