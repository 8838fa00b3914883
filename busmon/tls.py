"""TLS: one context for all clients, and one for the web server. No key may be encrypted."""

import re
import ssl
from pathlib import Path

FIRST = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class UnusableFile(Exception):
    """A file for TLS cannot be used. `setting` names it, for example "key"."""

    def __init__(self, setting: str, why: str) -> None:
        super().__init__(f"check {setting}: {why}")
        self.setting = setting
        self.why = why


class _Encrypted(Exception):
    """OpenSSL asks for the pass phrase of a key."""


def client_context(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """Return a context that demands a trusted certificate with the server's name.

    Raises UnusableFile.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise UnusableFile("ca", f"{ca}: {_reason(error, 'a certificate')}") from error
    # Python 3.13 sets this flag. Fedora's CA of 2018 fails it: its basicConstraints are
    # not marked as critical.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if certificate:
        _load_pair(context, certificate, key)
    return context


def pinned_context(certificate: Path) -> ssl.SSLContext:
    """Return a context that demands this very certificate of a server, by whatever name.

    Of a file with a chain it is the first one: who has another of the same CA is not trusted.
    Raises UnusableFile.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # else only that of a CA can be trusted
    try:
        found = FIRST.search(certificate.read_text(encoding="latin-1"))
        context.load_verify_locations(cadata=found[0] if found else "")
    except (OSError, ValueError) as error:
        why = _reason(error, "a certificate") if isinstance(error, OSError) else "has none"
        raise UnusableFile("certificate", f"{certificate}: {why}") from error
    return context


def server_context(
    certificate: Path | None, key: Path | None, client_ca: Path | None
) -> ssl.SSLContext:
    """Return a context that serves this certificate, and asks for one of `client_ca`, if given.

    Raises UnusableFile.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate:
        _load_pair(context, certificate, key)
    if client_ca:
        try:
            context.load_verify_locations(client_ca)
        except OSError as error:
            why = f"{client_ca}: {_reason(error, 'a certificate')}"
            raise UnusableFile("client_ca", why) from error
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _load_pair(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    try:
        # Without a function of ours, OpenSSL asks the terminal for a pass phrase and waits.
        context.load_cert_chain(certificate, key, password=_refuse)
    except _Encrypted:
        why = f"{key} is encrypted, and busmon has no pass phrase: store the key unencrypted"
        raise UnusableFile("key", why) from None
    except OSError as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            why = f"{key} does not belong to the certificate {certificate}"
            raise UnusableFile("key", why) from error
        why = _reason(error, "a certificate and its private key")
        raise UnusableFile("certificate", f"{certificate} with {key}: {why}") from error


def _refuse() -> str:
    raise _Encrypted


def _reason(error: OSError, content: str) -> str:
    """Return why files cannot be used that should hold `content`."""
    if not isinstance(error, ssl.SSLError):
        return error.strerror or str(error)
    reason = (error.reason or "").lower().replace("_", " ")
    return f"should hold {content} in PEM format{f' ({reason})' if reason else ''}"
