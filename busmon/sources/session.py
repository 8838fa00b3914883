"""What the sessions of all protocols share: one thread reads, answers and keeps alive."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from busmon.sources.base import Cause, ConnectionState, Disconnected, ProtocolError
from busmon.sources.line import Broker, Line

IDLE_SECONDS = 0.25  # that a read waits at most before it looks whether to stop
GATHER_SECONDS = 0.001  # to wait for more messages: a commit costs less in large batches
CLOSE_TIMEOUT = 2.0  # seconds for the broker to confirm the end
MAX_BATCH_BYTES = 2 * 1024**2  # of bodies, after which a batch is recorded

Frame_co = TypeVar("Frame_co", covariant=True)
Frame = TypeVar("Frame")


class Stopped(Exception):
    """The source was asked to stop while it waited for the broker."""


class FrameReader(Protocol[Frame_co]):
    """Makes frames of bytes. It bounds each length before it keeps a byte of it."""

    @property
    def incomplete(self) -> bool:
        """Whether a frame has begun and not ended."""

    def feed(self, received: bytes) -> Iterator[Frame_co]:
        """Yield each frame that this completes; raises ProtocolError."""


class Session(ABC, Generic[Frame]):
    """One connection, driven by whoever calls its methods; they raise Disconnected and Stopped.

    A protocol's session defines what a frame means, what the end of the connection means at
    each stage, and which bytes keep the connection alive.
    """

    def __init__(
        self, broker: Broker, reader: FrameReader[Frame], connection: ConnectionState
    ) -> None:
        """Connect. `connection` says when to stop, and shows that the thread is at work."""
        self._broker, self._reader, self._connection = broker, reader, connection
        self._keepalive_seconds = math.inf  # between two signs of life to the broker
        self._line = Line(broker, connection.stopping)
        self._last_sent = time.monotonic()

    @abstractmethod
    def _hear(self, frame: Frame) -> None:
        """Act upon a frame; raises Disconnected if it is the end, ProtocolError if it is wrong."""

    @abstractmethod
    def _keepalive(self) -> bytes:
        """Return what shows the broker that busmon lives."""

    def _lost(self) -> Disconnected:
        """Return what the end of the connection means at this stage."""
        return self._line.lost()

    def _broken(self, error: ProtocolError) -> Disconnected:
        """Return what a frame means that breaks the protocol."""
        return Disconnected(Cause.NETWORK, f"{self._broker} breaks the protocol: {error}")

    def close(self) -> None:
        """Close the connection, whatever state it is in."""
        self._line.close()

    def _wait_for(self, met: Callable[[], object], deadline: float, silent: str) -> None:
        while not met():
            if time.monotonic() > deadline:
                raise Disconnected(Cause.SILENT, silent)
            self._read(IDLE_SECONDS)

    def _read(self, seconds: float) -> None:
        """Do what is to be done while waiting."""
        if self._connection.stopping.is_set():
            raise Stopped
        if time.monotonic() - self._last_sent > self._keepalive_seconds:
            self._write(self._keepalive())
        self._receive(seconds)

    def _gather(self, full: Callable[[], bool]) -> None:
        """Read what else has come, for a large batch."""
        while not full() and not self._connection.stopping.is_set():
            if not self._receive(GATHER_SECONDS):
                return

    def _receive(self, seconds: float) -> bool:
        """Read what has come or comes within that time; return whether something did."""
        self._connection.turned()
        received = self._line.read(seconds)
        if received == b"":
            raise self._lost()
        frames = 0
        try:
            for frame in self._reader.feed(received or b""):
                self._hear(frame)
                self._connection.turned()
                frames += 1
        except ProtocolError as error:
            raise self._broken(error) from error
        self._line.note_progress(complete=frames > 0 or not self._reader.incomplete)
        return received is not None

    def _write(self, data: bytes) -> None:
        try:
            self._line.sendall(data)
        except OSError:
            while self._receive(0):  # the broker may have said why
                pass
            raise self._lost() from None
        self._last_sent = time.monotonic()
