"""STOMP 1.2's frames: from a broker's bytes to frames and back, without a socket.

stomp.py's own reader drops a frame that comes in one piece with two line ends before it, as
heart-beats are that wait to be read. And it takes up to 3.6 times as long.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from stomp import utils

from busmon.sources.base import ProtocolError
from busmon.sources.body import BodyBuffer

MAX_HEAD_BYTES = 64 * 1024  # of a frame that is no message
MAX_MESSAGE_HEAD_BYTES = 128 * 1024**2  # ActiveMQ takes such headers from a publisher
MAX_LINE_BYTES = 64 * 1024  # of a header; what is beyond is skipped
MAX_BODY_BYTES = 1024**3  # more than any broker takes; of a body as large only a part is kept
HEAD_END = re.compile(rb"\n\r?\n")
ESCAPES = str.maketrans({"\r": r"\r", "\n": r"\n", ":": r"\c", "\\": r"\\"})


class Frame(NamedTuple):
    """A frame from a broker. `size` is the whole body's, in bytes; `body` is as BodyBuffer's."""

    command: str
    headers: dict[str, str]
    body: bytes
    size: int


class FrameReader:
    """Keeps at most one line, the headers with these names, and a bounded part of one body.

    What a publisher can write into a header never decides where the frame ends: names of
    headers are case-sensitive, and RabbitMQ writes its own `content-length` after all others.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._rest = b""  # of an incomplete line
        self._skipping = False  # what comes of that line
        self._head_size = 0
        self._command = ""  # of the frame being read
        self._headers: dict[str, str] = {}
        self._length: str | None = None
        self._in_body = self._ended = False
        self._missing: int | None = None  # bytes of its body; None: it ends at a NUL
        self._body = BodyBuffer()

    @property
    def incomplete(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._rest or self._command)

    def feed(self, received: bytes) -> Iterator[Frame]:
        """Yield each frame that this completes; a heart-beat is none. Raises ProtocolError."""
        start = 0
        if self._skipping:
            start = received.find(b"\n")
            if start < 0:
                return self._add_to_head(len(received))
            self._add_to_head(start)
            self._skipping = False
        data = self._rest + received[start:]
        start = 0
        while True:
            if not self._in_body:
                start = self._read_head(data, start)
            if not self._in_body:
                break
            start = self._read_body(data, start)
            if not self._ended:
                break
            yield self._take()
        self._rest = data[start:]
        if len(self._rest) > MAX_LINE_BYTES:
            self._add_to_head(len(self._rest) - MAX_LINE_BYTES)
            self._skipping = True
            self._rest = self._rest[:MAX_LINE_BYTES]

    def _read_head(self, data: bytes, start: int) -> int:
        """Read the lines of a head that are complete; return where to go on."""
        if not self._command:
            while start < len(data) and data[start] in b"\r\n":  # heart-beats
                start += 1
        empty = data.startswith((b"\n", b"\r\n"), start)  # of a head whose lines were read
        found = None if empty else HEAD_END.search(data, start)
        end = found.start() + 1 if found else start if empty else data.rfind(b"\n", start) + 1
        if end > start:
            self._read_lines(data[start : end - 1])
            self._add_to_head(end - start)
        if not found and not empty:
            return max(start, end)
        self._in_body = True
        self._missing = None if self._length is None else _size(self._length)
        return data.find(b"\n", end) + 1

    def _add_to_head(self, size: int) -> None:
        self._head_size += size
        most = MAX_MESSAGE_HEAD_BYTES if self._command == "MESSAGE" else MAX_HEAD_BYTES
        if self._head_size > most:
            raise ProtocolError(f"headers of more than {most} bytes")

    def _read_lines(self, head: bytes) -> None:
        """Read lines of a head; of headers with one name the first counts, but of its length."""
        head = head.replace(b"\r\n", b"\n").removesuffix(b"\r")
        if len(head) > MAX_LINE_BYTES:
            head = b"\n".join(line[:MAX_LINE_BYTES] for line in head.split(b"\n"))
        lines = iter(head.decode(errors="backslashreplace").split("\n"))
        self._command = self._command or next(lines)
        for line in lines:
            name, _, value = line.partition(":")
            if "\\" in name:
                name = _unescaped(name)
            if name == "content-length":
                self._length = value
            elif name in self._names:
                self._headers.setdefault(name, _unescaped(value) if "\\" in value else value)

    def _read_body(self, data: bytes, start: int) -> int:
        """Read what there is of the body; return where to go on."""
        if self._missing is None:
            end = data.find(0, start)
            self._ended = end >= 0
            end = end if self._ended else len(data)
        else:
            end = min(start + self._missing, len(data))
            self._missing -= end - start
            self._ended = not self._missing and end < len(data)
            if self._ended and data[end]:
                raise ProtocolError("no NUL after a body")
        self._body.add(data[start:end])
        if self._body.size > MAX_BODY_BYTES:
            raise ProtocolError(f"a body of more than {MAX_BODY_BYTES} bytes")
        return end + self._ended

    def _take(self) -> Frame:
        body, size = self._body.kept(), self._body.size
        frame = Frame(self._command, self._headers, body, size)
        self._command, self._headers, self._length = "", {}, None
        self._in_body = self._ended = False
        self._body, self._head_size = BodyBuffer(), 0
        return frame


def write_frame(command: str, headers: Mapping[str, str]) -> bytes:
    """Return a frame without a body; nothing is escaped in CONNECT."""
    if command != "CONNECT":
        headers = {name: value.translate(ESCAPES) for name, value in headers.items()}
    return b"".join(utils.convert_frame(utils.Frame(command, headers)))


def _size(length: str) -> int:
    if not re.fullmatch(r"\s*[0-9]{1,18}\s*", length) or int(length) > MAX_BODY_BYTES:
        raise ProtocolError(f"content-length:{length[:40]}")
    return int(length)


def _unescaped(text: str) -> str:
    parts = text.split(r"\\")  # an escaped backslash begins no other escape
    return "\\".join(
        [part.replace(r"\c", ":").replace(r"\n", "\n").replace(r"\r", "\r") for part in parts]
    )
