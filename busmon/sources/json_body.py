"""JSON, and the body of a message on buses with plain JSON: MQTT and STOMP."""

import json
import sys
from typing import Any

import msgspec

from busmon.message import TOO_COSTLY, TOO_LARGE, Judgement, Outcome
from busmon.sources.codec import TooCostly

NOT_UTF8 = Judgement(Outcome.INVALID, "not-utf8")
NOT_JSON = Judgement(Outcome.INVALID, "not-json")
NOT_OBJECT = Judgement(Outcome.INVALID, "not-object")
REJECTIONS = (NOT_UTF8, NOT_JSON, NOT_OBJECT, TOO_LARGE, TOO_COSTLY)

# Bytes of a body, and of what it may become in memory once it is read: JSON can take fifty times
# its size, and a message that ends busmon in its small pod would come again, and so for ever.
MAX_BODY_BYTES = 2 * 1024**2
MAX_PARSED_BYTES = 18 * 1024**2

# msgspec takes half the time of json, but up to 8 µs for a number such as 1e300.
MAX_QUICK_CHARACTERS = 64 * 1024

_quick: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def load_json(text: str) -> Any:
    """Return what json.loads() does, mostly in half the time, and raise what it raises.

    msgspec returns the same for every text that both accept. json decides on the others, for
    example on NaN. Raises TooCostly if the text can take more than MAX_PARSED_BYTES once it is
    read.
    """
    if len(text) > MAX_QUICK_CHARACTERS:  # fewer are cheap, even if each of them began a dict
        if parsed_bytes(text) > MAX_PARSED_BYTES:
            raise TooCostly
        return json.loads(text)
    try:
        return _quick.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
        return json.loads(text)


def parsed_bytes(text: str) -> int:
    """Return how many bytes a text and what is read from it take at most.

    Each character counts as itself and as a part of a string that is read, and each sign of JSON
    as the most that it can stand for, in CPython 3.11 and later: a dict and its first table, a
    list, a key with its place in a larger table, a value with its place.
    """
    # One wide character makes all of its string wide. Escapes need a copy.
    width = 2 if text.isascii() and "\\u" not in text else 4
    dicts = 200 * text.count("{") - 120 * text.count("{}")
    others = 96 * text.count("[") + 80 * text.count(":") + 80 * text.count(",")
    return sys.getsizeof(text) + width * len(text) + dicts + others


def parse(payload: bytes) -> tuple[Any, Judgement | None]:
    """Return the JSON object in `payload` and None, or None and why there is none.

    It is read as json.loads() reads bytes: as UTF-8, UTF-16 or UTF-32, by its first bytes.
    """
    if len(payload) > MAX_BODY_BYTES:
        return None, TOO_LARGE
    try:
        text = payload.decode(json.detect_encoding(payload), "surrogatepass")
    except UnicodeDecodeError:
        return None, NOT_UTF8
    try:
        body = load_json(text)
    except TooCostly:
        return None, TOO_COSTLY
    except (ValueError, RecursionError):  # also ValueError for an integer with too many digits
        return None, NOT_JSON
    if not isinstance(body, dict):
        return None, NOT_OBJECT
    return body, None
