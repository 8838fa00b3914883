"""The server's side of TLS, loaded again when its files are renewed."""

import logging
import socket
import ssl

from busmon.problem_log import ProblemLog
from busmon.settings.models import Web
from busmon.tls import UnusableFile, server_context

log = logging.getLogger(__name__)


class ServerTls:
    """The certificate, key and client CA of `[web]`. Raises OSError if they cannot be loaded."""

    def __init__(self, settings: Web) -> None:
        self._settings = settings
        files = settings.certificate, settings.key, settings.client_ca
        self._files = [file for file in files if file]
        self._version = self._modified()
        self._context = self._read()
        self._problems = ProblemLog(log)

    def wrap(self, connection: socket.socket) -> ssl.SSLSocket:
        """Return the connection with TLS, before its handshake."""
        try:
            self._renew()
        except OSError as error:  # only one of the files is written: try again later
            self._problems.problem(f"still using the old certificate: {error}")
        return self._context.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        )

    def _renew(self) -> None:
        version = self._modified()
        if version != self._version:
            self._context = self._read()
            self._version = version
            self._problems.solved()
            log.info("read the renewed certificate %s", self._settings.certificate)

    def _modified(self) -> list[int]:
        return [file.stat().st_mtime_ns for file in self._files]

    def _read(self) -> ssl.SSLContext:
        files = self._settings
        try:
            return server_context(files.certificate, files.key, files.client_ca)
        except UnusableFile as error:
            raise OSError(
                f"cannot serve TLS: check {error.setting} in [web]: {error.why}"
            ) from error
