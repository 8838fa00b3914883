"""TLS of STOMP."""

import ssl

from busmon.sources.base import Cause, Disconnected
from busmon.sources.bus import Tls


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Return a context that demands a trusted certificate with the broker's name."""
    try:
        context = ssl.create_default_context(cafile=tls.ca)
    except (OSError, ValueError) as error:
        raise Disconnected(Cause.TLS, f"can't use ca {tls.ca}: {error}") from error
    if tls.certificate:
        try:
            # With a password, since OpenSSL would ask the terminal for a missing one.
            context.load_cert_chain(tls.certificate, tls.key, password="")
        except (OSError, ValueError) as error:
            which = f"certificate {tls.certificate} with key {tls.key}"
            raise Disconnected(Cause.TLS, f"can't use {which}: {error}") from error
    return context
