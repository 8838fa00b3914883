"""`busmon explain`: what the listener would make of recorded messages, and why."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TextIO

from busmon.rules import Rules, RuleSet, rule_set
from busmon.sources.recorded.format import Format
from busmon.sources.recorded.reader import RecordedLine, read
from busmon.text import printable

BookFor = Callable[[Format], RuleSet]

# The longest topic that a rule knows, a UUID and the longest outcome: columns line up
# without looking ahead, so that an endless stream is explained as it comes.
COLUMNS = "{topic:<60}  {id:<36}  {outcome:<8}  {reason}"


class Row(NamedTuple):
    """The answer to one line; `id` is FILE:LINE where the line is no message."""

    topic: str
    id: str
    outcome: str
    reason: str


def books(name: str | None, rules: Rules) -> BookFor:
    """Return how to choose the rule book of a line: the named one, else its bus's own.

    ValueError where there is no such book.
    """
    if name is not None:
        named = rule_set(name, rules)
        return lambda _format: named
    centos, packit = rule_set("centos", rules), rule_set("packit", rules)
    return lambda form: centos if form is Format.CENTOS else packit


def explain(lines: Iterable[RecordedLine], book_for: BookFor) -> Iterator[Row]:
    """Yield the answer to each line."""
    for line in lines:
        message = line.message
        verdict = book_for(line.format).judge(message)
        bad = line.format is Format.BAD
        shown_id = f"{line.place}:{line.number}" if bad else message.id
        yield Row(message.topic, shown_id, verdict.outcome, verdict.reason)


def as_text(row: Row) -> str:
    """Return the row as columns: topic, id, outcome, reason; always one printable line."""
    return printable(COLUMNS.format_map(row._asdict()).rstrip())


def as_json(row: Row) -> str:
    """Return the row as a JSON object on one line."""
    return json.dumps(row._asdict())


def explain_files(
    files: Iterable[tuple[str, Iterable[bytes]]],
    out: TextIO,
    book_for: BookFor,
    render: Callable[[Row], str] = as_text,
) -> None:
    """Write one line to `out` for each message of each named, open, binary file."""
    for place, file in files:
        for row in explain(read(file, place, bus=place), book_for):
            print(render(row), file=out)
