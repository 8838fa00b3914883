"""What Celery publishes on Redis: an envelope of Kombu, with one event or a list of them.

Whoever can publish on the broker decides what is in it. So only what is needed is read, and an
event is limited to MAX_EVENT_BYTES, also while it is decompressed.
"""

import binascii
import zlib
from collections.abc import Mapping
from typing import Any, TypedDict

import msgspec

MAX_EVENT_BYTES = 1024 * 1024


class Dropped(Exception):
    """An event cannot be read; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason  # one of DROPS


DROPS = ("too-large", "malformed", "unwritten", "orphan", "tree-too-large")


class Event(TypedDict, total=False):
    """What is needed of an event. Times are those of busmon, so none is in it."""

    type: str
    hostname: str  # of the worker
    uuid: str | None  # of the task
    name: str | None  # of the task
    root_id: str | None  # the task at the root of its tree
    parent_id: str | None  # the task that sent it
    requeue: bool | None  # of a rejected task: a worker will receive it again
    processed: int  # tasks, in a heartbeat


_events = msgspec.json.Decoder(list[Event] | Event)


def read(envelope: Mapping[str, Any]) -> list[Event]:
    """Return the events; raises Dropped."""
    try:
        content = _content(envelope)
        if len(content) > MAX_EVENT_BYTES:
            raise Dropped("too-large")
        events = _events.decode(content)
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
        zlib.error,
    ) as error:
        raise Dropped("malformed") from error
    events = events if isinstance(events, list) else [events]
    if not all("type" in event for event in events):
        raise Dropped("malformed")
    return events


def _content(envelope: Mapping[str, Any]) -> bytes:
    body: bytes = envelope["body"].encode()
    if envelope["properties"].get("body_encoding") == "base64":
        body = binascii.a2b_base64(body)
    compression = (envelope.get("headers") or {}).get("compression")
    if not compression:
        return body
    if compression != "application/x-gzip":  # Kombu's name for zlib
        raise Dropped("malformed")
    return zlib.decompressobj().decompress(body, MAX_EVENT_BYTES + 1)
