"""The body of a message on the buses that carry plain JSON: MQTT and STOMP."""

import json
from typing import Any

from busmon.message import Outcome, Verdict

NOT_UTF8 = Verdict(Outcome.INVALID, "not-utf8")
NOT_JSON = Verdict(Outcome.INVALID, "not-json")
NOT_OBJECT = Verdict(Outcome.INVALID, "not-object")
REJECTIONS = (NOT_UTF8, NOT_JSON, NOT_OBJECT)


def parse(payload: bytes) -> tuple[Any, Verdict | None]:
    """Return the JSON object in `payload` and None, or None and why there is none."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return None, NOT_UTF8
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):  # ValueError also of an integer of too many digits
        return None, NOT_JSON
    if not isinstance(body, dict):
        return None, NOT_OBJECT
    return body, None
