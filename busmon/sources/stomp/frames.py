"""STOMP 1.2's frames: from a broker's bytes to frames and back, without a socket.

stomp.py's own reader drops a frame that comes in one piece with two line ends before it, as
heart-beats are that wait to be read. And it takes up to 3.6 times as long.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from stomp import utils

from busmon.sources.base import ProtocolError
from busmon.sources.body import BodyBuffer

MAX_HEAD_BYTES = 1024**2  # RabbitMQ's heads, which come from a frame of AMQP, have half of it
MAX_BODY_BYTES = 1024**3  # more than any broker takes; of a body as large only a part is kept
HEAD_END = re.compile(rb"\r?\n\r?\n")
ESCAPED = re.compile(r"\\[rnc\\]")
UNESCAPES = {r"\r": "\r", r"\n": "\n", r"\c": ":", r"\\": "\\"}
ESCAPES = {ord(char): escape for escape, char in UNESCAPES.items()}


class Frame(NamedTuple):
    """A frame from a broker. `size` is the whole body's, in bytes; `body` is as BodyBuffer's."""

    command: str
    headers: dict[str, str]
    body: bytes
    size: int


class FrameReader:
    """Keeps at most one incomplete head, and of one incomplete body a bounded part.

    What a publisher can write into a frame never decides where the frame ends: names of
    headers are case-sensitive, and RabbitMQ writes its own `content-length` after all others.
    """

    def __init__(self) -> None:
        self._rest = b""  # of an incomplete head
        self._head: tuple[str, dict[str, str]] | None = None  # of the frame being read
        self._missing: int | None = None  # bytes of its body; None: it ends at a NUL
        self._body = BodyBuffer()
        self._ended = False

    @property
    def incomplete(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._rest or self._head)

    def feed(self, received: bytes) -> Iterator[Frame]:
        """Yield each frame that this completes; a heart-beat is none. Raises ProtocolError."""
        searched = max(0, len(self._rest) - 3)  # the end of a head has at most four bytes
        data = self._rest + received
        start = 0
        while True:
            if not self._head:
                start = self._read_head(data, start, searched)
            if not self._head:
                break
            start = self._read_body(data, start)
            if not self._ended:
                break
            yield self._take()
        self._rest = data[start:]

    def _read_head(self, data: bytes, start: int, searched: int) -> int:
        """Read command and headers if they are complete; return where to go on."""
        while start < len(data) and data[start] in b"\r\n":
            start += 1
        end = HEAD_END.search(data, max(start, searched))
        if (end.start() if end else len(data)) - start > MAX_HEAD_BYTES:
            raise ProtocolError(f"headers of more than {MAX_HEAD_BYTES} bytes")
        if not end:
            return start
        self._begin(data[start : end.start()].decode(errors="backslashreplace"))
        return end.end()

    def _begin(self, head: str) -> None:
        """Begin a frame; of headers with the same name the first counts, but of its length."""
        command, *lines = head.replace("\r\n", "\n").split("\n")
        headers: dict[str, str] = {}
        length = None
        for line in lines:
            name, _, value = line.partition(":")
            if name == "content-length":
                length = value
            if "\\" in line:
                name, value = _unescaped(name), _unescaped(value)
            headers.setdefault(name, value)
        self._head = command, headers
        self._missing = None if length is None else _size(length)

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
        command, headers = self._head or ("", {})
        frame = Frame(command, headers, self._body.kept(), self._body.size)
        self._head, self._body, self._ended = None, BodyBuffer(), False
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
    return ESCAPED.sub(lambda found: UNESCAPES[found[0]], text)
