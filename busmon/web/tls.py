"""The server's side of TLS, loaded again when its files are renewed."""

import logging
import socket
import ssl

from busmon.settings.models import Web

log = logging.getLogger(__name__)


class ServerTls:
    """The certificate, key and client CA of `[web]`. Raises OSError if they cannot be loaded."""

    def __init__(self, settings: Web) -> None:
        self._certificate, self._key = settings.certificate, settings.key
        self._client_ca = settings.client_ca
        self._files = [file for file in (self._certificate, self._key, self._client_ca) if file]
        self._version = self._modified()
        self._context = self._read()

    def wrap(self, connection: socket.socket) -> ssl.SSLSocket:
        """Return the connection with TLS, before its handshake."""
        try:
            self._renew()
        except OSError as error:  # only one of the files is written: try again later
            log.warning("still using the old certificate: %s", error)
        return self._context.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        )

    def _renew(self) -> None:
        version = self._modified()
        if version != self._version:
            self._context = self._read()
            self._version = version
            log.info("read the renewed certificate %s", self._certificate)

    def _modified(self) -> list[int]:
        return [file.stat().st_mtime_ns for file in self._files]

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            # Without a password, OpenSSL would ask the terminal for that of an encrypted key.
            context.load_cert_chain(str(self._certificate), self._key, password="")
            if self._client_ca:
                context.load_verify_locations(self._client_ca)
                context.verify_mode = ssl.CERT_OPTIONAL
        except OSError as error:
            reason = getattr(error, "reason", None) or error.strerror
            names = ", ".join(str(file) for file in self._files)
            raise OSError(f"cannot serve TLS with {names}: {reason}") from error
        return context
