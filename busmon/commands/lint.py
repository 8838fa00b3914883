"""Compare the lists of topics that people keep by hand.

Four lists should have the same topics: the bindings of the listener (fedora-messaging's TOML),
its callbacks (packit-service-fedmsg), the parsers of the worker (packit-service) and busmon's
own rules. They differ after a time. The code of others is parsed, and never imported or run.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from busmon.rules.packit import FEDORA, TABLE
from busmon.settings.lint import Acceptance, DifferenceKind
from busmon.sources.amqp import fedora_toml
from busmon.sources.amqp.settings import AmqpBus
from busmon.sources.filters import matches
from busmon.text import format_number

TOPICS = tuple(TABLE)  # of busmon's rules

# Where the tables are in a clone, an installation or the package itself.
LISTENER = ("packit_service_fedmsg/callbacks.py", "callbacks.py")
WORKER = ("packit_service/worker/parser.py", "worker/parser.py", "parser.py")
NAME = "MAPPING"  # of both tables
SOURCE = "fedora-messaging"  # the part of the worker's table that is for this bus


class LintError(Exception):
    """A list cannot be read; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A topic or routing key in which two lists differ; `text` describes how."""

    kind: DifferenceKind
    topic: str
    text: str


@dataclass(frozen=True, slots=True)
class RoutingKeys:
    """What the listener is bound to, and what busmon is bound to by settings of its own."""

    listener: tuple[str, ...]
    own: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lists:
    """The lists to compare with busmon's rules; None is a list that is not given."""

    bindings: Mapping[str, RoutingKeys] = field(default_factory=dict)  # by the listener's file
    listener: Sequence[str] | None = None  # topics
    worker: Sequence[str] | None = None  # event types

    def kinds(self) -> frozenset[DifferenceKind]:
        """Return the kinds of differences that these lists can have."""
        given = {
            DifferenceKind.BOUND_NOT_MAPPED: bool(self.bindings),
            DifferenceKind.MAPPED_NOT_BOUND: bool(self.bindings),
            DifferenceKind.WATCHED_NOT_BOUND: bool(self.bindings),
            DifferenceKind.LISTENER_ONLY: self.listener is not None,
            DifferenceKind.BUSMON_ONLY: self.listener is not None,
            DifferenceKind.PASSED_NOT_PARSED: self.worker is not None,
        }
        return frozenset(kind for kind, compared in given.items() if compared)

    def summary(self) -> str:
        """Return in one line what is compared and what is not."""
        parts = [
            f"{file} ({format_number(len(keys.listener), 'routing key')})"
            for file, keys in self.bindings.items()
        ]
        for what, topics in (("listener's code", self.listener), ("worker's code", self.worker)):
            parts.append(f"{what} ({'not given' if topics is None else f'{len(topics)} topics'})")
        return f"busmon's rules ({len(TOPICS)} topics), {', '.join(parts)}"


@dataclass(frozen=True, slots=True)
class Result:
    """What differs, what of it is accepted, and what is accepted but does not differ."""

    differences: list[Difference]
    accepted: list[Difference]
    unneeded: list[str]


def lint(lists: Lists, accept: Sequence[str] = ()) -> Result:
    """Compare the lists; `accept` has items as in `[lint] accept`."""
    differences = compare(lists)
    parsed = {text: Acceptance.parse(text) for text in accept}
    accepted = [
        difference
        for difference in differences
        if any(one.covers(difference.kind, difference.topic) for one in parsed.values())
    ]
    unneeded = [
        text
        for text, one in parsed.items()
        if one.kind in lists.kinds()
        and not any(one.covers(difference.kind, difference.topic) for difference in differences)
    ]
    return Result(
        [difference for difference in differences if difference not in accepted], accepted, unneeded
    )


def compare(lists: Lists) -> list[Difference]:
    """Return every difference, sorted by kind."""
    differences = [*_bound(lists.bindings), *_listener(lists.listener), *_parsed(lists)]
    order = list(DifferenceKind)
    return sorted(
        differences,
        key=lambda difference: (order.index(difference.kind), difference.topic, difference.text),
    )


def _bound(bindings: Mapping[str, RoutingKeys]) -> Iterator[Difference]:
    for file, keys in bindings.items():
        for key in keys.listener:
            if not any(matches(key, topic) for topic in TOPICS):
                text = f"bound by {file}, but no rule matches: all its messages are unmapped"
                yield Difference(DifferenceKind.BOUND_NOT_MAPPED, key, text)
        for topic in TOPICS:
            if any(matches(key, topic) for key in keys.listener):
                continue
            text = f"has a rule, but no routing key of {file} matches it"
            own = next((key for key in keys.own if matches(key, topic)), None)
            if own is None:
                yield Difference(DifferenceKind.MAPPED_NOT_BOUND, topic, text)
            else:
                text += f", only busmon's own {own}: the listener never gets what busmon expects"
                yield Difference(DifferenceKind.WATCHED_NOT_BOUND, topic, text)


def _listener(mapped: Sequence[str] | None) -> Iterator[Difference]:
    if mapped is None:
        return
    for topic in set(mapped) - set(TOPICS):
        text = "the listener has a callback, but busmon has no rule: it is counted as unmapped"
        yield Difference(DifferenceKind.LISTENER_ONLY, topic, text)
    for topic in set(TOPICS) - set(mapped):
        text = "busmon has a rule, but the listener has no callback: it drops what busmon expects"
        yield Difference(DifferenceKind.BUSMON_ONLY, topic, text)


def _parsed(lists: Lists) -> Iterator[Difference]:
    if lists.worker is None:
        return
    for topic in TOPICS if lists.listener is None else lists.listener:
        if topic.removeprefix(FEDORA) not in lists.worker:
            text = "the listener passes it on, but the worker has no parser for it"
            yield Difference(DifferenceKind.PASSED_NOT_PARSED, topic, text)


def bindings_of(buses: Iterable[AmqpBus]) -> dict[str, RoutingKeys]:
    """Return the routing keys of the listeners by file, for the buses with rules packit.

    Raises LintError.
    """
    found: dict[str, RoutingKeys] = {}
    for bus in buses:
        if bus.rules == "packit":
            before = found.get(str(bus.config)) or bound_by(bus.config)
            own = (*before.own, *(bus.routing_keys or ()), *bus.extra_routing_keys)
            found[str(bus.config)] = replace(before, own=own)
    if not found:
        raise LintError('no bus has type = "amqp" and rules = "packit"; give --fedora-toml FILE')
    return found


def bound_by(path: Path) -> RoutingKeys:
    """Return the routing keys in a configuration file of fedora-messaging; raises LintError.

    Nothing else in the file is checked: its certificates need not be here.
    """
    try:
        return RoutingKeys(tuple(dict.fromkeys(fedora_toml.routing_keys(path))))
    except fedora_toml.UnusableToml as error:
        raise LintError(str(error)) from error


def mapped_by(source: Path) -> tuple[str, ...]:
    """Return the topics for which the listener's code has a callback; raises LintError."""
    return _topics(source, LISTENER)


def parsed_by(source: Path) -> tuple[str, ...]:
    """Return the event types for which the worker's code has a parser; raises LintError."""
    return _topics(source, WORKER, SOURCE)


def _topics(source: Path, places: Iterable[str], *keys: str) -> tuple[str, ...]:
    path = next((source / place for place in places if (source / place).is_file()), None)
    if path is None:
        raise LintError(f"{source}: has no {' nor '.join(places)}")
    try:
        tree = ast.parse(path.read_bytes())
    except OSError as error:
        raise LintError(f"{path}: {error.strerror}") from error
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise LintError(f"{path}: cannot be read as Python: {error}") from error
    name = "".join([NAME, *(f"[{key!r}]" for key in keys)])
    table = _part(_table(tree), keys)
    if table is None or not table.keys:
        raise LintError(f"{path}: no table {name} of topics found: has the code changed?")
    topics = [_text(key) for key in table.keys]
    if None in topics:
        line = getattr(table.keys[topics.index(None)] or table, "lineno", 0)
        raise LintError(f"{path}:{line}: {name} has a key that is not plain text")
    return tuple(topic for topic in topics if topic is not None)


def _table(tree: ast.AST) -> ast.expr | None:
    """Return what `MAPPING` is assigned, in a module or a class of it."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name == NAME:
                return value
            case ast.AnnAssign(target=ast.Name(id=name), value=value) if name == NAME:
                return value
    return None


def _part(table: ast.expr | None, keys: Sequence[str]) -> ast.Dict | None:
    for wanted in keys:
        if not isinstance(table, ast.Dict):
            return None
        items = zip(table.keys, table.values, strict=True)
        table = next((value for key, value in items if _text(key) == wanted), None)
    return table if isinstance(table, ast.Dict) else None


def _text(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
