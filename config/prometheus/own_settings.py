"""A user's own settings: merged into the shipped ones, or everything that is wrong with them."""

import difflib
import re
from collections.abc import Iterator
from typing import Any

import promql_parser

SEVERITIES = ("critical", "warning", "none")
OF_ANY_ALERT = ("for", "keep_firing_for")
PATTERNS = ("job", "pages", "queue", "listener_tasks")
DURATIONS = (*OF_ANY_ALERT, "time", "time_of_many")
DURATION = re.compile(r"(?=\d)(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?")
KINDS: dict[type, str] = {str: "text", list: "list", dict: "table"}
BELOW = {"share": 1, "percent": 100}  # the other numbers have no upper bound


def merge(values: dict[str, Any], own: dict[str, Any], place: str = "") -> Iterator[str]:
    """Put the user's values over the others, in place; yield each mistake, with its place."""
    for key, value in own.items():
        default = values.get(key)
        if default is None and "severity" in values and key in OF_ANY_ALERT:
            default = ""
        if default is None:
            yield f"{place}{key}: unknown setting{_hint(key, values)}"
        elif isinstance(default, dict) and isinstance(value, dict) and key != "publishers":
            yield from merge(default, value, f"{place}{key}.")
        else:
            problems = list(_problems(key, value, default))
            yield from (f"{place}{key}: {problem}" for problem in problems)
            if not problems:
                values[key] = _escaped(key, value)


def _hint(key: str, values: dict[str, Any]) -> str:
    if close := difflib.get_close_matches(key, values, 1):
        return f"; did you mean {close[0]}?"
    return f"; there are {', '.join(values)}" if len(values) < 8 else ""


def _problems(key: str, value: Any, default: Any) -> Iterator[str]:
    """Yield what is wrong with a value."""
    if _kind(value) != _kind(default):
        yield f"{value!r} is not a {_kind(default)}"
    elif isinstance(value, dict):
        for topic, who in value.items():
            yield from _wrong_pattern(topic)
            yield from _wrong_text(who) if isinstance(who, str) else [f"{who!r} is not a text"]
    elif isinstance(value, list):
        for pattern in value:
            text = isinstance(pattern, str)
            yield from _wrong_pattern(pattern) if text else [f"{pattern!r} is not a text"]
    elif isinstance(value, str):
        yield from _wrong_word(key, value)
    elif not 0 < value < BELOW.get(key, float("inf")):
        below = f" and less than {BELOW[key]}" if key in BELOW else ""
        yield f"{value} is not more than 0{below}"


def _kind(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    return KINDS.get(type(value), "setting")


def _wrong_word(key: str, value: str) -> Iterator[str]:
    if key == "severity":
        if value not in SEVERITIES:
            yield f"{value!r} is not {' or '.join(SEVERITIES)}"
    elif key in DURATIONS:
        if not DURATION.fullmatch(value):
            yield f'{value!r} is not a duration such as "5m" or "1h30m"'
    elif key == "gateway":
        yield from _wrong_promql(f"up{{{value}}}", f"{value!r} is not a list of matchers")
    elif key in PATTERNS:
        if key == "job" and not value:
            yield "it is empty"
        yield from _wrong_pattern(value)
    else:
        yield from _wrong_text(value)


def _wrong_pattern(value: str) -> Iterator[str]:
    if found := re.search(r"`|%|\{\{|\n", value):
        yield f"{value!r} has {found[0]!r}, which cannot be part of it"
    else:
        yield from _wrong_promql(
            f'up{{a=~"{_escaped("pages", value)}"}}', f"{value!r} is not a regular expression"
        )


def _wrong_text(value: str) -> Iterator[str]:
    if not value.strip():
        yield "it is empty"
    if found := re.search(r"\{\{|\$|\n", value):
        yield f"{value!r} has {found[0]!r}, which cannot be part of it"


def _wrong_promql(query: str, problem: str) -> Iterator[str]:
    try:
        promql_parser.parse(query)
    except ValueError:
        yield problem


def _escaped(key: str, value: Any) -> Any:
    """Return patterns as they are written between quotes, in PromQL and in a template."""
    if key == "staging":
        return [_escaped("pages", pattern) for pattern in value]
    if key in PATTERNS:
        return value.replace("\\", "\\\\").replace('"', '\\"')
    return value
