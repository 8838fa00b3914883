"""What tests of servers read from their sockets."""

import socket
from contextlib import suppress


def rest(client: socket.socket) -> bytes:
    """Return what is received until the server closes, even if it has not read all of ours."""
    received = b""
    with suppress(ConnectionResetError):
        while more := client.recv(65536):
            received += more
    return received
