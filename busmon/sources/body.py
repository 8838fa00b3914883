"""A message's body as it arrives in pieces: what is kept of it is bounded."""

from hashlib import blake2b

from busmon.sources.json_body import MAX_BODY_BYTES


class BodyBuffer:
    """The first MAX_BODY_BYTES of a body, its size, and a digest of what is beyond."""

    def __init__(self) -> None:
        self.size = 0  # bytes of the whole body
        self._first = b""  # nearly always all of it, which is not copied
        self._others = bytearray()
        self._beyond: blake2b | None = None

    def add(self, piece: bytes) -> None:
        """Take the next bytes of the body."""
        room = max(0, MAX_BODY_BYTES - self.size)
        self.size += len(piece)
        if self._first:
            self._others += piece[:room]
        else:
            self._first = piece[:room]
        if len(piece) > room:
            self._beyond = self._beyond or blake2b(digest_size=16)
            self._beyond.update(piece[room:])

    def kept(self) -> bytes:
        """Return the body; of one that is too large, its beginning and a digest of the rest."""
        return self._first + self._others + (self._beyond.digest() if self._beyond else b"")
