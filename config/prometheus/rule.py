"""Rules as Python objects, and the YAML that Prometheus reads."""

import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser
import yaml
from settings import Settings, fill

WIDTH = 100
# What busmon exports, in an expression: no recorded series. A text is found to be skipped.
BUSMON_METRIC = re.compile(r'"[^"]*"|(?<![\w:])(busmon_\w+|process_\w+|up)(?![\w:])(\{)?')
ACTION = re.compile(r"\{\{(?:`[^`]*`|[^`])*?\}\}")  # of a template; a query in it is in backquotes


@dataclass(frozen=True)
class Recording:
    """A recording rule; the comment says why it exists."""

    name: str
    expr: str
    comment: str = ""


@dataclass(frozen=True, kw_only=True)
class Alert:
    """An alert. Texts are templates of Prometheus, in which `$name` is a setting of the alert.

    `by` names its labels beside the namespace. The description is `what` happened, `since` when,
    and what to do `first`. Settings: the table `alerts.NAME`, or `alerts.NAME.VARIANT`.
    """

    name: str
    variant: str = ""
    comment: str = ""
    expr: str
    by: tuple[str, ...] = ()
    summary: str
    what: str
    began: str = "This began at TIME."  # TIME is when the alert's condition began
    since: str = ""  # what writes another sentence in place of it
    first: str
    panel: str = ""  # the title of a panel of a dashboard
    page: str | None = "/"  # below `[web] public_url`; None if nobody would answer
    remembered: str = "15m"  # for how long Grafana's address is known without busmon


@dataclass(frozen=True)
class Group:
    """Rules that are evaluated together, one after another."""

    name: str
    rules: tuple[Recording | Alert, ...]
    interval: str = ""
    comment: str = ""


def group(name: str, *rules: Recording | Alert, interval: str = "", comment: str = "") -> Group:
    """Return a group of these rules."""
    return Group(name, rules, interval, comment)


Annotate = Callable[[Alert, Settings], dict[str, str]]


def matched(expr: str, settings: Settings) -> str:
    """Return the expression with the job in every selector of busmon's metrics."""

    def with_job(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        return f"{match[1]}{{{settings.job}{',' if match[2] else '}'}"

    return BUSMON_METRIC.sub(with_job, expr)


def matched_text(text: str, settings: Settings) -> str:
    """Return a template with the job in every selector of its queries."""

    def with_job(action: re.Match[str]) -> str:
        return re.sub(r"`[^`]*`", lambda query: matched(query[0], settings), action[0])

    return ACTION.sub(with_job, text)


def pretty(expr: str) -> str:
    """Return the expression in the format of `promtool promql format`."""
    return str(promql_parser.parse(expr).prettify())


def lines_of_group(group: Group, settings: Settings, annotate: Annotate) -> Iterator[str]:
    """Yield the lines of a group in an item of the list `groups`."""
    yield from _comment(group.comment, 2)
    yield f"  - name: {group.name}"
    if group.interval:
        yield f"    interval: {group.interval}"
    yield "    rules:"
    for number, rule in enumerate(group.rules):
        if number:
            yield ""
        yield from _comment(rule.comment, 6)
        if isinstance(rule, Recording):
            yield f"      - record: {rule.name}"
            yield from _expr(matched(rule.expr, settings))
        else:
            yield from _alert(rule, settings, annotate)


def _alert(alert: Alert, settings: Settings, annotate: Annotate) -> Iterator[str]:
    table = settings.of_alert(alert.name, alert.variant)
    yield f"      - alert: {alert.name}"
    yield from _expr(matched(fill(alert.expr, table), settings))
    if "for" in table:
        yield f"        for: {table['for']}"
    if "keep_firing_for" in table:
        yield f"        keep_firing_for: {table['keep_firing_for']}"
    yield "        labels:"
    for name, text in settings.labels(alert.name, alert.variant).items():
        yield f"          {name}: {scalar(text)}"
    yield "        annotations:"
    for name, text in annotate(alert, settings).items():
        filled = fill(" ".join(text.split()), table, words=True)
        yield f"          {name}: {scalar(matched_text(filled, settings))}"


def _expr(expr: str) -> Iterator[str]:
    lines = pretty(expr).splitlines()
    if len(lines) == 1 and scalar(lines[0]) == lines[0]:
        yield f"        expr: {lines[0]}"
        return
    # YAML takes the indentation from the first line, and PromQL's may be indented more.
    indented = lines[0].startswith(" ")
    yield "        expr: |2" if indented else "        expr: |"
    yield from (f"          {line}" for line in lines)


def _comment(text: str, indent: int) -> Iterator[str]:
    margin = " " * indent + "# "
    for paragraph in textwrap.dedent(text).strip().split("\n\n"):
        if paragraph:
            flowing = " ".join(paragraph.split())
            yield from textwrap.wrap(
                flowing,
                WIDTH,
                initial_indent=margin,
                subsequent_indent=margin,
                break_long_words=False,
                break_on_hyphens=False,
            )


def header(text: str) -> str:
    """Return a comment for the top of a file: paragraphs, each filled."""
    paragraphs = textwrap.dedent(text).strip().split("\n\n")
    return "\n#\n".join("\n".join(_comment(paragraph, 0)) for paragraph in paragraphs)


def scalar(text: str) -> str:
    """Return the text as YAML, in quotes only if it needs them."""
    if not text.startswith(("|", ">")) and _read(text) == {"key": text}:
        return text
    quoted = text.replace("'", "''")
    return f"'{quoted}'"


def _read(text: str) -> Any:
    try:
        return yaml.safe_load(f"key: {text}")
    except yaml.YAMLError:
        return None
