"""Fedora's message on the wire: what fedora-messaging would make of a delivery.

`decode` takes the same steps in the same order as `fedora_messaging.message.get_message`
(3.9.1), which the listener's consumer calls before anything else. A ValidationError there
means that the message is nacked and never seen by the callback: outcome `invalid`. Any
other exception ends the consumer with the message back in its queue, a crash loop:
outcome `error`. Unlike get_message(), it logs no body and builds each validator once.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import Any

import fastjsonschema
import pika
from fedora_messaging.message import Message, get_class
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for

from busmon.message import Judgement, Outcome
from busmon.sources import codec, json_body
from busmon.sources.json_body import (
    MAX_BODY_BYTES,
    NOT_JSON,
    NOT_OBJECT,
    NOT_UTF8,
    TOO_COSTLY,
    TOO_LARGE,
    is_too_costly,
    load_json,
)

BAD_SCHEMA = Judgement(Outcome.INVALID, "schema")
BAD_HEADERS = Judgement(Outcome.INVALID, "headers")
KILLS_CONSUMER = Judgement(Outcome.ERROR, "kills-consumer")

REJECTIONS = (*json_body.REJECTIONS, BAD_SCHEMA, BAD_HEADERS, KILLS_CONSUMER)


# jsonschema takes twenty times as long to find what nearly every message has valid.
_quick: dict[int, Callable[[Any], Any]] = {
    id(schema): fastjsonschema.compile(schema)
    for schema in (Message.headers_schema, Message.body_schema)
}


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
    except Exception:  # noqa: BLE001 - the very point: any other exception kills the consumer
        return None, KILLS_CONSUMER


def _decode(
    topic: str, headers: dict[str, Any], content_encoding: str | None, body: bytes
) -> tuple[Any, Judgement | None]:
    of = get_class(headers.get("fedora_messaging_schema", "base.message"))
    schema = _schema(of)  # type: ignore[arg-type]  # a class has a hash, if a message has none
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
    except codec.TooCostly:
        return None, TOO_COSTLY
    if is_too_costly(text):
        return None, TOO_COSTLY
    try:
        return load_json(text), None
    except ValueError:
        return None, NOT_JSON


def _refusal(schema: "_Schema", message: Message, headers: dict[str, Any]) -> Judgement | None:
    """Return why the message is not valid, or None."""
    if not schema.plain:
        try:
            message.validate()
        except ValidationError:
            return BAD_SCHEMA
        return None
    if not all(_valid(headers, validator) for validator in schema.headers):
        return BAD_HEADERS
    if not all(_valid(message.body, validator) for validator in schema.body):
        return BAD_SCHEMA if isinstance(message.body, dict) else NOT_OBJECT
    return None


class _Schema:
    """A message class and its validators, each built where get_message() first needs it."""

    def __init__(self, of: type[Message]) -> None:
        self.of = of
        schemas = (of.headers_schema, of.body_schema)
        self.plain = of.validate is Message.validate and all(isinstance(s, dict) for s in schemas)

    @cached_property
    def headers(self) -> tuple[Validator, ...]:
        return _validators(self.of.headers_schema, Message.headers_schema)

    @cached_property
    def body(self) -> tuple[Validator, ...]:
        return _validators(self.of.body_schema, Message.body_schema)


@cache  # of the classes that are installed, never of a publisher's names
def _schema(of: type[Message]) -> _Schema:
    return _Schema(of)


def _validators(*schemas: dict[str, Any]) -> tuple[Validator, ...]:
    distinct = schemas[:1] if schemas[0] is schemas[-1] else schemas
    for schema in distinct:
        validator_for(schema).check_schema(schema)
    return tuple(validator_for(schema)(schema) for schema in distinct)


def _valid(instance: Any, validator: Validator) -> bool:
    if quick := _quick.get(id(validator.schema)):
        with suppress(Exception):
            quick(instance)
            return True
    if validator.is_valid(instance):
        return True
    # get_message() looks for the best of all errors, and may stumble over one on the way.
    return best_match(validator.iter_errors(instance)) is None


def sent_at(headers: dict[str, Any] | None) -> float | None:
    """Return the Unix time of the `sent-at` header (ISO 8601; UTC without offset), if any."""
    try:
        moment = datetime.fromisoformat((headers or {})["sent-at"])
    except (KeyError, TypeError, ValueError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
