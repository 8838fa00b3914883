"""`busmon explain`: what the listener would do with recorded messages, and why."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, TextIO

from busmon.message import UNJUDGED, Outcome
from busmon.rules import Rules, RuleSet, rule_set
from busmon.sources.listener_queue import DEATH, ListenerQueue
from busmon.sources.recorded.format import RULES, Format
from busmon.sources.recorded.reader import RecordedLine, read
from busmon.text import printable

RuleSets = Mapping[Format, RuleSet]

# The widths of the longest topic that a rule knows, of a UUID and of the longest outcome. So
# columns line up without reading ahead, and an endless stream is explained as it comes.
COLUMNS = "{topic:<60}  {id:<36}  {outcome:<8}  {reason}"


class Row(NamedTuple):
    """The answer to one line; `id` is FILE:LINE if the line is not a message."""

    topic: str
    id: str
    outcome: str
    reason: str
    note: str = ""  # what becomes of a listener that the message kills


def rule_sets(name: str | None, rules: Rules) -> RuleSets:
    """Return the rule set for each format: the named one, or the one of the format.

    ValueError if there is no such rule set.
    """
    if name is not None:
        return dict.fromkeys(Format, rule_set(name, rules))
    return {form: rule_set(RULES.get(form, "packit"), rules) for form in Format}


def explain(
    lines: Iterable[RecordedLine],
    rule_sets: RuleSets,
    queue: ListenerQueue = ListenerQueue.UNKNOWN,
) -> Iterator[Row]:
    """Yield the answer to each line. `queue` is that of the listener of Fedora's messages."""
    for line in lines:
        message = line.message
        judgement = rule_sets[line.format].judge(message)
        bad = line.format is Format.BAD
        shown_id = f"{line.place}:{line.number}" if bad else message.id
        kills = judgement.outcome is Outcome.ERROR and judgement.reason not in UNJUDGED
        note = DEATH[queue] if kills and line.format is Format.FEDORA else ""
        yield Row(message.topic, shown_id, judgement.outcome, judgement.reason, note)


def as_text(row: Row) -> str:
    """Return the row as columns: topic, id, outcome, reason; always one printable line."""
    note = f": {row.note}" if row.note else ""
    return printable(COLUMNS.format_map(row._asdict()).rstrip() + note)


def as_json(row: Row) -> str:
    """Return the row as a JSON object on one line."""
    return json.dumps(row._asdict())


def explain_files(
    files: Iterable[tuple[str, Iterable[bytes]]],
    out: TextIO,
    rule_sets: RuleSets,
    render: Callable[[Row], str] = as_text,
    queue: ListenerQueue = ListenerQueue.UNKNOWN,
) -> None:
    """Write one line to `out` for each message of each named, open, binary file."""
    for place, file in files:
        for row in explain(read(file, place, bus=place), rule_sets, queue):
            print(render(row), file=out)
