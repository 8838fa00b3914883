"""Cuts what a broker sends into STOMP's frames, in place of stomp.py's own reader.

That one throws a frame away that comes in one piece with two line ends or more before it,
as the heart-beats are that wait to be read after a pause; and what no frame brought would be
acknowledged with the next.
"""

import re

HEADERS_END = re.compile(rb"\r?\n\r?\n")
LENGTH = re.compile(rb"^content-length:\s*(\d{1,18})\s*$", re.IGNORECASE | re.MULTILINE)


class FrameReader:
    """Keeps what is not a whole frame yet."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._needed = 0  # bytes that the frame has at least

    def feed(self, received: bytes) -> list[bytes]:
        """Return the frames that this completes, without their NUL; a heart-beat is none."""
        self._rest += received
        frames = []
        start = 0
        while len(self._rest) - start >= self._needed:
            while start < len(self._rest) and self._rest[start] in b"\r\n":
                start += 1
            end = self._end(start)
            if end is None:
                break
            frames.append(bytes(self._rest[start:end]))
            start = end + 1
            self._needed = 0
        del self._rest[:start]
        return frames

    def _end(self, start: int) -> int | None:
        """Return where the NUL is after the frame that starts there, if it has come."""
        headers = HEADERS_END.search(self._rest, start)
        if not headers:
            return None
        length = LENGTH.search(self._rest, start, headers.start())
        end = headers.end() + int(length[1]) if length else self._rest.find(b"\0", headers.end())
        self._needed = end + 1 - start
        return end if 0 <= end < len(self._rest) else None
