"""Sends the reports of a buffer to busmon over HTTP, in a thread of its own."""

import atexit
import json
import logging
import ssl
import threading
import time
from dataclasses import dataclass
from http.client import HTTPException
from typing import Self
from urllib.parse import urlsplit
from uuid import uuid4

from busmon.tap.buffer import Buffer, OutgoingReports
from busmon.tap.http import TimedConnection

SEND_INTERVAL = 1.0  # seconds
KEEPALIVE_INTERVAL = 10.0  # seconds after which a batch is sent even if it is empty
ANSWER_TIMEOUT = 5.0  # seconds to connect, and to answer
MAX_PAUSE_SECONDS = 15.0  # between two attempts; busmon takes the tap for down after 30 s
FLUSH_TIMEOUT = 2.0  # seconds at the end of the process
PERMANENT_STATUSES = {400, 413}  # busmon would refuse the same batch again

log = logging.getLogger("busmon.tap")


@dataclass(frozen=True, slots=True)
class Address:
    """Where busmon accepts reports, and how to send them."""

    tls: ssl.SSLContext | None
    host: str
    port: int | None
    path: str
    bus: str
    token: str

    @classmethod
    def of(cls, url: str, bus: str, token: str, ca: str | None) -> Self:
        """Return the address; ValueError if it is malformed, OSError if the CA cannot be read."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
            raise ValueError("url should be http://host:port/v1/reports, or https://…")
        if not token.isascii() or not token.isprintable() or not token:
            raise ValueError("the token should be printable ASCII")
        tls = ssl.create_default_context(cafile=ca) if parts.scheme == "https" else None
        return cls(tls, parts.hostname, parts.port, parts.path or "/v1/reports", bus, token)

    def post(self, content: bytes, timeout: float) -> int:
        """Send a batch and return the status of the answer, which comes within `timeout` seconds.

        Raises OSError and HTTPException.
        """
        port = self.port or (443 if self.tls else 80)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        with TimedConnection(self.host, port, self.tls, timeout) as connection:
            connection.request("POST", self.path, content, headers)
            return connection.getresponse().status


class Sender:
    """Sends the reports of a buffer: every second, or as soon as a batch is full."""

    def __init__(self, address: Address, buffer: Buffer) -> None:
        self._address, self._buffer = address, buffer
        self._tap = str(uuid4())
        self._ending = threading.Event()
        self._pending: OutgoingReports | None = None  # sent again unchanged: busmon knows its seq
        self._problem: str | None = None
        self._thread = threading.Thread(target=self._run, name="busmon-tap", daemon=True)

    def start(self) -> None:
        """Send until the process ends."""
        self._thread.start()
        atexit.register(self.stop)

    def stop(self) -> None:
        """Send what is left. Return within `FLUSH_TIMEOUT` seconds, whatever busmon does."""
        self._ending.set()
        self._buffer.filled.set()
        self._thread.join(FLUSH_TIMEOUT)

    def _run(self) -> None:
        try:
            self._send_until_ending()
        except Exception:  # the listener goes on; busmon sees that the tap no longer reports
            log.exception("the tap ends, and reports nothing more to busmon")

    def _send_until_ending(self) -> None:
        pause = sent = 0.0
        while not self._ending.is_set():
            self._ending.wait(pause) if pause else self._buffer.filled.wait(SEND_INTERVAL)
            recently = time.monotonic() - sent < KEEPALIVE_INTERVAL
            if self._ending.is_set() or (recently and not self._pending and not len(self._buffer)):
                continue
            if self._send(ANSWER_TIMEOUT):
                pause, sent = 0.0, time.monotonic()
            else:
                pause = min(max(SEND_INTERVAL, 2 * pause), MAX_PAUSE_SECONDS)
        self._flush(time.monotonic() + FLUSH_TIMEOUT)

    def _flush(self, deadline: float) -> None:
        last = False
        while not last and (left := deadline - time.monotonic()) > 0:
            self._pending = self._pending or self._buffer.take(last=True)
            last = self._pending.last
            if not self._send(left):
                return

    def _send(self, timeout: float) -> bool:
        """Send one batch; return whether the next one can follow."""
        batch = self._pending = self._pending or self._buffer.take()
        try:
            status = self._address.post(self._encoded(batch), timeout)
        except (OSError, HTTPException, UnicodeError) as error:
            return self._note(f"cannot be reached: {error}; reports wait")
        if status not in PERMANENT_STATUSES and status // 100 != 2:
            return self._note(f"answered with status {status}; reports wait")
        self._pending = None
        if status in PERMANENT_STATUSES:
            self._buffer.add_lost(batch)
            return self._note(f"answered with status {status}; these reports are lost")
        return self._note(None)

    def _encoded(self, batch: OutgoingReports) -> bytes:
        now = time.monotonic()
        return json.dumps(
            {
                "tap": self._tap,
                "seq": batch.seq,
                "bus": self._address.bus,
                "since": now - batch.since,  # seconds ago, since two clocks never agree
                "until": now - batch.until,
                "lost": batch.lost,
                "last": batch.last,
                "reports": [report._asdict() for report in batch.reports],
            },
            default=str,
        ).encode()

    def _note(self, problem: str | None) -> bool:
        """Log a new problem, or its end, once; return whether there is none."""
        if problem and problem != self._problem:
            log.error("busmon at %s %s", self._address.host, problem)
        elif self._problem and not problem:
            log.info("busmon at %s accepts reports again", self._address.host)
        self._problem = problem
        return problem is None
