"""Conversions between values of the program and values in the tables."""

import re
from hashlib import blake2b
from typing import NamedTuple
from uuid import UUID

UUID_TEXT = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # no other way to write it
DIGEST = re.compile("[0-9a-f]{32}")  # the ids that busmon makes if a protocol has none
SHORTENED = re.compile("digest:([0-9a-f]{64})")  # how `shown_id` shows an id that was not kept


# What a text begins with where all ids are bytes, so that it differs from the others.
TEXT, LONGER_TEXT = b"\1", b"\2\0"
BYTES_OF_OTHERS = {16, 32}  # a UUID, the digest of a text; one of 17 bytes begins with 0


class TextId(str):
    """An id that is stored as it is."""

    __slots__ = ()

    def in_bytes(self) -> bytes:
        """Return the bytes that no other id is stored as."""
        text = self.encode()
        return (LONGER_TEXT if len(text) + 1 in BYTES_OF_OTHERS else TEXT) + text


class Interval(NamedTuple):
    """A span of time; Unix times."""

    since: float
    until: float


def stored_id(identity: str) -> str | bytes:
    """Return the id in its stored form.

    It is 16 bytes for a UUID, 17 for a digest, 32 for a long or odd text (only its digest is
    kept), and the text itself for all others. Takes what `shown_id` returns, too.
    """
    if UUID_TEXT.fullmatch(identity):
        return bytes.fromhex(identity.replace("-", ""))
    if DIGEST.fullmatch(identity):
        return b"\0" + bytes.fromhex(identity)
    if shortened := SHORTENED.fullmatch(identity):
        return bytes.fromhex(shortened[1])
    if identity.isascii() and len(identity) <= 255:
        return TextId(identity)
    return blake2b(identity.encode(errors="surrogatepass"), digest_size=32).digest()


def shown_id(stored: str | bytes) -> str:
    """Return an id as the bus had it; of one that was too long or odd, its digest."""
    if isinstance(stored, str):
        return stored
    match len(stored), stored[:1]:
        case 16, _:
            return str(UUID(bytes=stored))
        case 17, b"\0":
            return stored[1:].hex()
        case 32, _:
            return f"digest:{stored.hex()}"
        case _, b"\1":
            return stored[1:].decode()
    return stored[2:].decode()


def milliseconds(seconds: float | None) -> int | None:
    """Return whole milliseconds, or None for a time that no clock shows."""
    if seconds is None or not abs(seconds) < 1e12:
        return None
    return round(seconds * 1000)


def seconds(milliseconds: int | None) -> float | None:
    """Return the seconds of whole milliseconds."""
    return None if milliseconds is None else milliseconds / 1000
