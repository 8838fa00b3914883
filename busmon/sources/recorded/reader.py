"""Read recorded messages: a JSON object on each line, in one of the two formats.

A line in neither format is a bad line. It counts as invalid, and is reported with its place.
"""

import gzip
import json
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, cast
from uuid import UUID

from busmon.message import Judgement, Message, Outcome
from busmon.sources import json_body, schema_packages
from busmon.sources.recorded.format import Format
from busmon.tap.busmon_tap import message_id

NOT_RECORD = Judgement(Outcome.INVALID, "not-record")  # a JSON object, but in neither format
UNREADABLE = (OSError, EOFError, zlib.error)  # the last two for a damaged gzip file
MAX_LINE_BYTES = json_body.MAX_BODY_BYTES + 1  # with its end; json_body refuses a larger line
NO_TOPIC = "__none__"  # the topic of a line without one


@dataclass(frozen=True, slots=True)
class RecordedLine:
    """A line of a file: its place, its format and its message."""

    place: str
    number: int
    format: Format
    message: Message


def open_file(path: Path) -> BinaryIO:
    """Open a recorded file for reading; one named `.gz` is decompressed."""
    if path.suffix == ".gz":
        return cast(BinaryIO, gzip.open(path))
    return path.open("rb")


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield each line. Only the beginning of a line that is too large, so that it is counted."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        yield line
        while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES + 1)  # the rest, a part at a time


def read(lines: Iterable[bytes], place: str, bus: str) -> Iterator[RecordedLine]:
    """Yield each line that is not blank, with its message received now.

    A line without an id gets a digest of its text and of how often that text came before
    in the same file. So two equal lines are two messages, yet the same file again, or one
    that overlaps it, holds the same messages.
    """
    times: Counter[bytes] = Counter()
    for number, line in enumerate(lines, start=1):
        text = line if len(line) > MAX_LINE_BYTES else line.strip()
        if not text:
            continue
        form, message = _parse(text, bus)
        if not message.id:
            digest = sha256(text).digest()
            times[digest] += 1
            message = message._replace(id=_digest_id(digest, times[digest]))
        yield RecordedLine(place, number, form, message)


def _digest_id(digest: bytes, times: int) -> str:
    numbered = sha256(digest + times.to_bytes(8)).digest()
    return str(UUID(bytes=numbered[:16]))  # as wide as the ids of Fedora's bus


def _parse(text: bytes, bus: str) -> tuple[Format, Message]:
    record, rejected = json_body.parse(text)
    if rejected is not None:
        return _bad(text, bus, NO_TOPIC, rejected)
    topic = record.get("topic")
    if not isinstance(topic, str) or not topic:
        return _bad(text, bus, NO_TOPIC, NOT_RECORD)
    try:
        if "payload" in record:
            return Format.CENTOS, _centos(record, bus)
        if "body" in record and isinstance(record.get("headers"), dict | None):
            return Format.FEDORA, _fedora(record, bus)
    except RecursionError:  # nested so deeply that it can be parsed, but not serialized
        return _bad(text, bus, topic, json_body.NOT_JSON)
    return _bad(text, bus, topic, NOT_RECORD)


def _fedora(record: dict[str, Any], bus: str) -> Message:
    from busmon.sources import fedora_message  # slow to import, and not every file needs it

    headers = record.get("headers")
    wired = json.dumps(record["body"]).encode()  # exactly as fedora-messaging publishes it
    body, rejected = fedora_message.decode(record["topic"], headers, None, wired)
    return Message(
        bus=bus,
        id=message_id(record.get("id") or None),
        topic=record["topic"],
        received_at=time.time(),
        sent_at=fedora_message.sent_at(headers),
        body=body,
        size=len(wired),
        rejected=rejected,
        unknown_schema=schema_packages.is_unknown(headers),
    )


def _centos(record: dict[str, Any], bus: str) -> Message:
    wired = json.dumps(record["payload"]).encode()
    body, unreadable = json_body.parse(wired)
    return Message(
        bus=bus,
        id="",
        topic=record["topic"],
        received_at=time.time(),
        body=body,
        size=len(wired),
        unreadable=unreadable,
    )


def _bad(text: bytes, bus: str, topic: str, rejected: Judgement) -> tuple[Format, Message]:
    message = Message(
        bus=bus, id="", topic=topic, received_at=time.time(), size=len(text), rejected=rejected
    )
    return Format.BAD, message
