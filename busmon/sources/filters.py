"""Filters of topics: which topics match, and which filters overlap."""

from collections.abc import Sequence, Set
from itertools import combinations

ONE = {"+", "*"}  # a level, in MQTT's filters and in those of ActiveMQ and RabbitMQ
REST = {"#", ">"}  # any number of levels


def check_overlap(filters: Sequence[str], separator: str) -> None:
    """Raise ValueError if a topic can match two of the filters."""
    for one, other in combinations(filters, 2):
        if _overlap(one.split(separator), other.split(separator)):
            raise ValueError(f"{one} and {other} overlap: the broker may send a message twice")


def _overlap(one: Sequence[str], other: Sequence[str]) -> bool:
    if one and one[0] in REST:
        return _overlap(one[1:], other) or (bool(other) and _overlap(one, other[1:]))
    if other and other[0] in REST:
        return _overlap(other, one)
    if not one or not other:
        return not one and not other
    same = one[0] == other[0] or bool(ONE & {one[0], other[0]})
    return same and _overlap(one[1:], other[1:])


def any_matches(filters: Set[str], topic: str, separator: str = ".", one: str = "*") -> bool:
    """Return whether one of the filters matches a topic."""
    return topic in filters or any(matches(each, topic, separator, one) for each in filters)


def matches(filter_: str, topic: str, separator: str = ".", one: str = "*") -> bool:
    """Return whether a filter, such as a routing key, matches a topic.

    `one` stands for one word, and `#` for any number of words.
    """
    pattern = filter_.split(separator)
    places = _with_rest(pattern, {0})
    for word in topic.split(separator):
        stay = {at for at in places if at < len(pattern) and pattern[at] == "#"}
        go_on = {at + 1 for at in places if at < len(pattern) and pattern[at] in (one, word)}
        places = _with_rest(pattern, stay | go_on)
    return len(pattern) in places


def _with_rest(pattern: Sequence[str], places: set[int]) -> set[int]:
    """Add the places behind each `#` that stands for no word."""
    for at, word in enumerate(pattern):
        if at in places and word == "#":
            places = places | {at + 1}
    return places
