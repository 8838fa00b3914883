"""`busmon find` and the page of messages: finds messages by what people know of them.

What is looked for are texts by name, as the query of a URL has them: `q` are words, the others
limit what they find. The answer is what JSON can hold.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any

from busmon.archive.lookup import page_of, search_page
from busmon.commands.reconsume import is_uuid
from busmon.commands.trace import message_of
from busmon.ledger.search import Criteria, Found, Hit
from busmon.ledger.tables import Tables
from busmon.message import Outcome
from busmon.rules.subjects import alternatives
from busmon.settings.archive import Archive
from busmon.settings.units import UNITS, parse_moment, parse_number, parse_quantity
from busmon.text import format_choice

LIMIT = 50
MAX_LIMIT = 200
MAX_NUMBER = 10**18  # of a message; SQLite has larger ones
MAX_WORDS = 8
ARCHIVE_SECONDS = 7 * 86400.0  # of which it is asked; a longer time takes it long
ARCHIVED = {"package": "package", "owner": "user"}  # by which it finds messages, and its word
FILTERS = ("bus", "topic", "outcome", "reason", "since", "until")
FIELDS = ("q", *FILTERS, "before", "limit")
TIME = "should be a time in UTC, 2026-03-01 14:05, or how long ago that was: 90m, 24h, 7d"


class BadQuery(Exception):
    """What is asked for makes no sense; the text says why."""


def search(tables: Tables, asked: Mapping[str, str], now: float) -> dict[str, Any]:
    """Return what is found, the newest first; `older` is the `before` of the next search.

    Raises BadQuery. `now` is Unix time.
    """
    given = {name: asked[name].strip() for name in FIELDS if asked.get(name, "").strip()}
    words = given.get("q", "").split()
    criteria = _criteria(given, words, now)
    limit = _number(given, "limit", MAX_LIMIT) or LIMIT
    before = _number(given, "before", MAX_NUMBER)
    found = Found([])
    if len(words) == 1 and before is None:
        found = Found(tables.search.by_id(message_of(tables, words[0]), criteria, limit))
    if not found.hits:
        found = tables.search.find(criteria, limit, before)
    return {
        "asked": {name: given.get(name, "") for name in FIELDS},
        "messages": [_as_dict(hit) for hit in found.hits],
        "older": found.before,
        "since": tables.messages.oldest(),
    }


def hints(asked: Mapping[str, str], kept: Collection[str]) -> Iterator[str]:
    """Yield for which words no key is kept. `asked` is that of an answer, `kept` are the kinds.

    Messages and tasks are found by their ids in any case.
    """
    for word in asked["q"].split():
        kinds = [key.partition(" ")[0] for key in alternatives(word)]
        if kinds and not {*kinds} & {*kept} and not is_uuid(word):
            yield (
                f"{word}: nothing is found by it, because `subjects` in [ledger] does not list"
                f" {format_choice(kinds)}"
            )


def archive_page(settings: Archive | None, asked: Mapping[str, str], now: float) -> str | None:
    """Return the URL of what the archive has of an id, package or owner; None for all else.

    It has also what busmon missed, or no longer has. `asked` is that of an answer.
    """
    if settings is None or asked["bus"] not in {"", settings.bus}:
        return None
    if is_uuid(word := asked["q"]):
        return page_of(settings.url, word)
    until = _moment(asked, "until", now) or now
    since = _moment(asked, "since", now) or 0.0
    span = int(max(since, until - ARCHIVE_SECONDS, 1)), int(until)
    for key in alternatives(word):
        kind, value = key.split(" ", 1)
        if kind in ARCHIVED and not value.isdecimal():
            return search_page(settings.url, ARCHIVED[kind], value, *span)
    return None


def _criteria(given: Mapping[str, str], words: list[str], now: float) -> Criteria:
    if len(words) > MAX_WORDS:
        raise BadQuery(f"q: at most {MAX_WORDS} words")
    if (outcome := given.get("outcome")) not in {None, *Outcome}:
        raise BadQuery(f"outcome: should be {format_choice([*Outcome])}")
    return Criteria(
        tuple(tuple(alternatives(word)) for word in words),
        given.get("bus"),
        given.get("topic"),
        outcome,
        given.get("reason"),
        _moment(given, "since", now),
        _moment(given, "until", now),
    )


def _moment(given: Mapping[str, str], name: str, now: float) -> float | None:
    if not (text := given.get(name)):
        return None
    with suppress(ValueError, OverflowError):
        return max(0.0, now - parse_quantity(text, UNITS))
    with suppress(ValueError):
        return max(0.0, parse_moment(text))
    raise BadQuery(f"{name}: {TIME}")


def _number(given: Mapping[str, str], name: str, most: int) -> int | None:
    if not (text := given.get(name)):
        return None
    try:
        return parse_number(text, 1, most)
    except ValueError as error:
        raise BadQuery(f"{name}: {error}") from None


def _as_dict(hit: Hit) -> dict[str, Any]:
    return hit._asdict() | {"keys": key_dicts(hit)}


def key_dicts(hit: Hit) -> list[dict[str, str]]:
    """Return the keys of a message for JSON."""
    return [dict(zip(("kind", "value"), key.split(" ", 1), strict=True)) for key in hit.keys]
