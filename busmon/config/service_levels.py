"""What is wrong between `[slo.NAME]`, or the longest task, and the other sections."""

from collections.abc import Container, Iterator
from fnmatch import fnmatchcase
from typing import Any

from pydantic import TypeAdapter, ValidationError

from busmon.config.environment import Place, Problem, Tables, subtables
from busmon.ledger.coverage import MAX_GAP_SECONDS
from busmon.rules import Rules, rule_set
from busmon.settings.audit import Audit
from busmon.settings.models import LedgerSettings
from busmon.settings.service_level import ServiceLevel
from busmon.settings.units import Seconds, format_seconds

OBSERVERS = {  # by stage, the tables of those that see who reaches it
    "listener": ("reports",),
    "worker": ("reports", "celery"),
    "handlers": ("reports", "celery"),
}
ANY_TOPIC = ("all", "centos")  # rules that handle topics which they do not name


def service_level_problems(tables: Tables, wrong: Container[Place]) -> Iterator[Problem]:
    """Yield the problems of all service levels. `wrong` are places with problems of their own."""
    for name, table in subtables(tables, "slo").items():
        if isinstance(table, dict):
            place = "slo", name
            sound = {key: value for key, value in table.items() if (*place, key) not in wrong}
            for key, text in (*_of_bus(tables, sound), *_of_retention(tables, sound)):
                yield (*place, *key), text


def _of_bus(tables: Tables, level: Tables) -> Iterator[Problem]:
    bus, buses = level.get("bus"), subtables(tables, "buses")
    if not isinstance(bus, str):
        return
    if bus not in buses:
        yield ("bus",), f"no such bus: {bus}"
        return
    audit = subtables(tables, "audit")
    needed = OBSERVERS.get(str(level.get("stage")), ())
    absent = [name for name in needed if subtables(audit, name).get("bus") != bus]
    if absent:
        names = " and ".join(f"[audit.{name}]" for name in absent)
        yield ("stage",), f"{level['stage']} needs {names} of the bus {bus}"
    yield from _of_topics(tables, subtables(buses, bus).get("rules"), level)


def _of_topics(tables: Tables, rules: Any, level: Tables) -> Iterator[Problem]:
    """Yield the topics that no rule has, if the rules name all that they handle."""
    topics = _validated(ServiceLevel.model_fields["topics"].rebuild_annotation(), level, "topics")
    if not isinstance(rules, str) or rules in ANY_TOPIC or not topics:
        return
    try:
        settings = Rules.model_validate(subtables(tables, "rules"))
        known = {topic for topic, _ in rule_set(rules, settings).known_series()}
    except ValueError:  # reported elsewhere
        return
    for number, pattern in enumerate(topics if known else ()):
        if not any(fnmatchcase(topic, pattern) for topic in known):
            yield ("topics", number), f"the rules {rules} have no such topic: {pattern}"


def longest_task_problems(tables: Tables) -> Iterator[Problem]:
    """Yield that tasks may be deleted before it is known whether they end."""
    audit = subtables(tables, "audit")
    if "celery" not in audit:
        return
    longest, window = (
        _validated(Seconds, audit, key) or Audit.model_fields[key].default
        for key in ("longest_task", "window")
    )
    retention, kept = _kept(tables)
    if longest > (most := int(kept - window)):
        text = f"should be at most {format_seconds(most)}, because {retention}"
        yield ("audit", "longest_task"), text


def _of_retention(tables: Tables, level: Tables) -> Iterator[Problem]:
    """Yield that messages may be deleted before they can be judged."""
    within = _validated(Seconds, level, "within")
    retention, most = _kept(tables)
    if within and within > most:
        yield ("within",), f"should be at most {format_seconds(int(most))}, because {retention}"


def _kept(tables: Tables) -> tuple[str, float]:
    """Return the retention in words, and for how long it keeps what comes in the last grace."""
    ledger = LedgerSettings.model_fields["retention"]
    retention = _validated(ledger.rebuild_annotation(), subtables(tables, "ledger"), "retention")
    grace = _validated(Seconds, subtables(tables, "audit"), "grace")
    retention = retention or ledger.default
    kept = retention - (grace or Audit.model_fields["grace"].default) - MAX_GAP_SECONDS
    return f"[ledger] retention is {format_seconds(retention)}", kept


def _validated(kind: Any, table: Tables, key: str) -> Any:
    """Return a setting, or None if it is not given or wrong, which is reported elsewhere."""
    try:
        return TypeAdapter(kind).validate_python(table[key])
    except (KeyError, ValidationError):
        return None
