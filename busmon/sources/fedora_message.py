"""Fedora's message on the wire: what fedora-messaging would make of a delivery.

`decode` takes the same steps in the same order as `fedora_messaging.message.get_message`
(3.9.1), which the listener's consumer calls before anything else. A ValidationError there
means that the message is nacked and never seen by the callback: outcome `invalid`. Any
other exception ends the consumer: outcome `error`. What then becomes of the message depends
on the listener's queue: see `listener_queue.py`. Unlike get_message(), it logs no body and
builds each validator once.
"""

from datetime import UTC, datetime
from typing import Any

import pika
from fedora_messaging.message import Message, get_class
from jsonschema.exceptions import ValidationError

from busmon.message import TOO_COSTLY, TOO_LARGE, Judgement, Outcome
from busmon.sources import codec, json_body
from busmon.sources.fedora_schema import FedoraSchema, schema_of
from busmon.sources.json_body import (
    MAX_BODY_BYTES,
    NOT_JSON,
    NOT_OBJECT,
    NOT_UTF8,
    load_json,
)

BAD_SCHEMA = Judgement(Outcome.INVALID, "schema")
BAD_HEADERS = Judgement(Outcome.INVALID, "headers")
KILLS_CONSUMER = Judgement(Outcome.ERROR, "kills-consumer")

REJECTIONS = (*json_body.REJECTIONS, BAD_SCHEMA, BAD_HEADERS, KILLS_CONSUMER)


def decode(
    topic: str, headers: dict[str, Any] | None, content_encoding: str | None, body: bytes
) -> tuple[Any, Judgement | None]:
    """Return the parsed body and None, or None and why the listener never sees it.

    Never raises: whatever get_message() would raise becomes a judgement. A body that is too
    large for busmon is not looked at, and one that could take much time or memory is not read.
    """
    if len(body) > MAX_BODY_BYTES:
        return None, TOO_LARGE
    try:
        return _decode(topic, headers or {}, content_encoding, body)
    except codec.TooCostly:
        return None, TOO_COSTLY
    except Exception:  # noqa: BLE001 - the very point: any other exception kills the consumer
        return None, KILLS_CONSUMER


def _decode(
    topic: str, headers: dict[str, Any], content_encoding: str | None, body: bytes
) -> tuple[Any, Judgement | None]:
    of = get_class(headers.get("fedora_messaging_schema", "base.message"))
    schema = schema_of(of)  # type: ignore[arg-type]  # a class has a hash, if a message has none
    parsed, rejected = _read(content_encoding, body)
    if rejected:
        return None, rejected
    message = schema.of(
        body=parsed,
        topic=topic,
        properties=pika.BasicProperties(headers=headers),
        severity=headers.get("fedora_messaging_severity", 20),
    )
    rejected = _refusal(schema, message, headers)
    return (None, rejected) if rejected else (message.body, None)


def _read(content_encoding: str | None, body: bytes) -> tuple[Any, Judgement | None]:
    try:
        text = codec.decode(body, "utf-8" if content_encoding is None else content_encoding)
    except UnicodeDecodeError:
        return None, NOT_UTF8
    try:
        return load_json(text), None
    except ValueError:
        return None, NOT_JSON


def _refusal(schema: FedoraSchema, message: Message, headers: dict[str, Any]) -> Judgement | None:
    """Return why the message is not valid, or None."""
    if not schema.plain:
        try:
            message.validate()
        except ValidationError:
            return BAD_SCHEMA
        return None
    if not schema.accepts_headers(headers):
        return BAD_HEADERS
    if not schema.accepts_body(message.body):
        return BAD_SCHEMA if isinstance(message.body, dict) else NOT_OBJECT
    return None


def sent_at(headers: dict[str, Any] | None) -> float | None:
    """Return the Unix time of the `sent-at` header (ISO 8601; UTC without offset), if any."""
    try:
        moment = datetime.fromisoformat((headers or {})["sent-at"])
    except (KeyError, TypeError, ValueError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
