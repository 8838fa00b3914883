"""JSON, and the body of a message on buses with plain JSON: MQTT and STOMP."""

import json
from typing import Any

import msgspec

from busmon.message import Judgement, Outcome

NOT_UTF8 = Judgement(Outcome.INVALID, "not-utf8")
NOT_JSON = Judgement(Outcome.INVALID, "not-json")
NOT_OBJECT = Judgement(Outcome.INVALID, "not-object")
TOO_LARGE = Judgement(Outcome.ERROR, "too-large")
REJECTIONS = (NOT_UTF8, NOT_JSON, NOT_OBJECT, TOO_LARGE)

# Parsed JSON takes up to thirty times its size in memory. A larger body could kill busmon in
# its small pod. The broker would send it again, and it would kill busmon again.
MAX_BODY_BYTES = 2 * 1024**2

_quick: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def load_json(text: str) -> Any:
    """Return what json.loads() returns, in half the time, and raise what it raises.

    msgspec returns the same for every text that both accept. json decides on the others, for
    example on NaN.
    """
    try:
        return _quick.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
        return json.loads(text)


def parse(payload: bytes) -> tuple[Any, Judgement | None]:
    """Return the JSON object in `payload` and None, or None and why there is none."""
    if len(payload) > MAX_BODY_BYTES:
        return None, TOO_LARGE
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return None, NOT_UTF8
    try:
        body = load_json(text)
    except (ValueError, RecursionError):  # also ValueError for an integer with too many digits
        return None, NOT_JSON
    if not isinstance(body, dict):
        return None, NOT_OBJECT
    return body, None
