"""The tap's way to busmon: a bounded buffer, and a thread that empties it over HTTP."""

import atexit
import json
import logging
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import NamedTuple, Self
from urllib.parse import urlsplit
from uuid import uuid4

MOST = 10_000  # reports that wait while busmon is away, some 4 MB
BATCH = 200  # reports; 200 of the longest ids and topics are still less than busmon takes
EVERY = 1.0  # seconds
ALIVE = 10.0  # seconds after which busmon is told that the tap lives, with or without reports
ANSWER_TIMEOUT = 5.0  # seconds for busmon to connect or to answer
LONGEST_PAUSE = 15.0  # seconds between two tries: busmon waits for 30 s before it calls it blind
FLUSH = 2.0  # seconds at the end of the process
PERMANENT_STATUSES = {400, 413}  # what busmon would refuse for ever

log = logging.getLogger("busmon.tap")


class TapReport(NamedTuple):
    """What the listener did with a message: its state is passed, dropped or raised."""

    id: str | None
    topic: str
    state: str
    task: str | None  # the first one published


@dataclass(frozen=True, slots=True)
class OutgoingReports:
    """Reports to be sent together. From `since` to `until`, monotonic, they are all there are."""

    seq: int
    reports: list[TapReport]
    since: float
    until: float
    lost: int  # reports before `since`
    last: bool = False


class Buffer:
    """At most `most` reports, of which the oldest give way. Thread-safe, and never waits long."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._reports: deque[tuple[float, TapReport]] = deque()
        self._since = time.monotonic()
        self._lost = 0
        self._seq = 0
        self.filled = threading.Event()  # a batch's worth is waiting

    def add(self, report: TapReport) -> None:
        """Take a report in; a message without an id can't be told from others, and has none."""
        if not report.id:
            return
        with self._lock:
            if len(self._reports) >= self._most:
                self._since, _ = self._reports.popleft()
                self._lost += 1
            self._reports.append((time.monotonic(), report))
            if len(self._reports) == BATCH:
                self.filled.set()

    def take(self, *, last: bool = False) -> OutgoingReports:
        """Return the oldest reports, as many as go into a batch, and forget them here."""
        with self._lock:
            taken = [self._reports.popleft() for _ in range(min(BATCH, len(self._reports)))]
            if len(self._reports) < BATCH:
                self.filled.clear()
            until = taken[-1][0] if self._reports else time.monotonic()
            reports = [report for _, report in taken]
            last = last and not self._reports
            self._seq += 1
            batch = OutgoingReports(self._seq, reports, self._since, until, self._lost, last)
            self._since, self._lost = until, 0
        return batch

    def add_lost(self, batch: OutgoingReports) -> None:
        """Count what could not be delivered."""
        with self._lock:
            self._lost += batch.lost + len(batch.reports)

    def __len__(self) -> int:
        return len(self._reports)


@dataclass(frozen=True, slots=True)
class Address:
    """Where busmon takes reports, and as what."""

    tls: ssl.SSLContext | None
    host: str
    port: int | None
    path: str
    bus: str
    token: str

    @classmethod
    def of(cls, url: str, bus: str, token: str, ca: str | None) -> Self:
        """Raise ValueError for an address that is none, OSError for a CA that can't be read."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
            raise ValueError("url should be http://host:port/v1/reports, or https://…")
        if not token.isascii() or not token.isprintable() or not token:
            raise ValueError("the token should be printable ASCII")
        tls = ssl.create_default_context(cafile=ca) if parts.scheme == "https" else None
        return cls(tls, parts.hostname, parts.port, parts.path or "/v1/reports", bus, token)

    def post(self, content: bytes, timeout: float) -> int:
        """Return the status of the answer; follows no redirect and no proxy with the token.

        Raises OSError and HTTPException.
        """
        connection = (
            HTTPSConnection(self.host, self.port, timeout=timeout, context=self.tls)
            if self.tls
            else HTTPConnection(self.host, self.port, timeout=timeout)
        )
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        try:
            connection.request("POST", self.path, content, headers)
            return connection.getresponse().status
        finally:
            connection.close()


class Sender:
    """Sends what is in the buffer: each second, or a batch as soon as it is full."""

    def __init__(self, address: Address, buffer: Buffer) -> None:
        self._address, self._buffer = address, buffer
        self._tap = str(uuid4())
        self._ending = threading.Event()
        self._pending: OutgoingReports | None = None  # sent again as it is, so that busmon knows it
        self._problem: str | None = None
        self._thread = threading.Thread(target=self._run, name="busmon-tap", daemon=True)

    def start(self) -> None:
        """Begin, until the process ends."""
        self._thread.start()
        atexit.register(self.stop)

    def stop(self) -> None:
        """Send what is left; returns within `FLUSH` seconds, whatever busmon does."""
        self._ending.set()
        self._buffer.filled.set()
        self._thread.join(FLUSH)

    def _run(self) -> None:
        pause = told = 0.0
        while not self._ending.is_set():
            self._ending.wait(pause) if pause else self._buffer.filled.wait(EVERY)
            alive = time.monotonic() - told < ALIVE
            if self._ending.is_set() or (alive and not self._pending and not len(self._buffer)):
                continue
            if self._send(ANSWER_TIMEOUT):
                pause, told = 0.0, time.monotonic()
            else:
                pause = min(max(EVERY, 2 * pause), LONGEST_PAUSE)
        self._flush(time.monotonic() + FLUSH)

    def _flush(self, deadline: float) -> None:
        last = False
        while not last and (left := deadline - time.monotonic()) > 0:
            self._pending = self._pending or self._buffer.take(last=True)
            last = self._pending.last
            if not self._send(left):
                return

    def _send(self, timeout: float) -> bool:
        """Send one batch; tell whether the next one may follow."""
        batch = self._pending = self._pending or self._buffer.take()
        try:
            status = self._address.post(self._encoded(batch), timeout)
        except (OSError, HTTPException, UnicodeError) as error:
            return self._note(f"can't be reached: {error}; reports wait")
        if status not in PERMANENT_STATUSES and status // 100 != 2:
            return self._note(f"answers with status {status}; reports wait")
        self._pending = None
        if status in PERMANENT_STATUSES:
            self._buffer.add_lost(batch)
            return self._note(f"answers with status {status}; these reports are lost")
        return self._note(None)

    def _encoded(self, batch: OutgoingReports) -> bytes:
        now = time.monotonic()
        return json.dumps(
            {
                "tap": self._tap,
                "seq": batch.seq,
                "bus": self._address.bus,
                "since": now - batch.since,  # seconds ago: no two clocks agree
                "until": now - batch.until,
                "lost": batch.lost,
                "last": batch.last,
                "reports": [report._asdict() for report in batch.reports],
            },
            default=str,
        ).encode()

    def _note(self, problem: str | None) -> bool:
        """Log a change between well and not, once; tell whether it is well."""
        if problem and problem != self._problem:
            log.error("busmon at %s %s", self._address.host, problem)
        elif self._problem and not problem:
            log.info("busmon at %s takes reports again", self._address.host)
        self._problem = problem
        return problem is None
