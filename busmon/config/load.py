"""The configuration: a TOML file and the environment become one `Config` or one `ConfigError`."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from busmon.config.archive import archive_problems
from busmon.config.credentials import shared_credentials
from busmon.config.environment import Place, Problem, Tables, override, subtables
from busmon.config.ledger import ledger_problems
from busmon.config.model import AnyBus, Config
from busmon.config.service_levels import longest_task_problems, service_level_problems
from busmon.observers.queue import QueueSettings
from busmon.rules import Rules, rule_set
from busmon.settings.lint import Lint
from busmon.settings.models import Web
from busmon.settings.toml import TomlError, read_toml
from busmon.sources.amqp.settings import AmqpBus
from busmon.sources.bus import Bus
from busmon.sources.table import SOURCES
from busmon.text import format_choice
from busmon.tls import UnusableFile, server_context

TYPES = format_choice(list(SOURCES))
DEFAULT_PATH = "/etc/busmon/busmon.toml"

TEXTS = {  # for the kinds of errors whose own text is not for people who write a TOML file
    "bool_parsing": "should be true or false",
    "dict_type": "should be a table",
    "extra_forbidden": "no such setting",
    "float_parsing": "should be a number",
    "float_type": "should be a number",
    "int_from_float": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_type": "should be a whole number",
    "missing": "is missing",
    "model_attributes_type": "should be a table",
    "model_type": "should be a table",
    "path_type": "should be a path",
    "string_pattern_mismatch": "a bus name has only a-z, 0-9, _ and -, and begins with a letter",
    "string_too_short": "should not be empty",
    "string_type": "should be a string",
    "too_short": "should not be empty",
    "tuple_type": "should be a list",
    "union_tag_invalid": f"should be {TYPES}",
    "union_tag_not_found": f"is missing; it should be {TYPES}",
    "uuid_parsing": "should be a UUID",
    "uuid_type": "should be a UUID",
}


class ConfigError(Exception):
    """The configuration cannot be used. `problems` has everything wrong, each with its place."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read the file at `path`, in $BUSMON_CONFIG or at the default path; raises ConfigError."""
    tables, directory = _read(path, environ)
    variables, unknown = override(tables, environ)
    config, problems = _validate(tables, directory)
    if config and not problems and not unknown:
        return config
    raise ConfigError([*_texts(problems, tables, variables), *unknown])


def load_lists(
    path: Path | None, environ: Mapping[str, str], *, with_buses: bool
) -> tuple[Lint, list[AmqpBus]]:
    """Return what `busmon lint` compares of the same file; raises ConfigError.

    It needs none of the certificates and secrets with which busmon connects and serves. Without
    the buses it does not need the listeners' files, either.
    """
    tables, directory = _read(path, environ)
    variables, unknown = override(tables, environ)
    lint, buses, problems = Lint(), [], []
    try:
        lint = Lint.model_validate(tables.get("lint", {}))
    except ValidationError as error:
        problems += [(("lint", *detail["loc"]), _text(detail)) for detail in error.errors()]
    for name, table in subtables(tables, "buses").items() if with_buses else ():
        if not isinstance(table, dict) or table.get("type") != "amqp":
            continue
        try:
            buses.append(AmqpBus.model_validate(table, context={"directory": directory}))
        except ValidationError as error:
            problems += [
                (("buses", name, *detail["loc"]), _text(detail)) for detail in error.errors()
            ]
    if problems or unknown:
        raise ConfigError([*_texts(problems, tables, variables), *unknown])
    return lint, buses


def _read(path: Path | None, environ: Mapping[str, str]) -> tuple[Tables, Path]:
    """Return the tables of the file, and its directory."""
    named = path or environ.get("BUSMON_CONFIG")
    path = Path(named or DEFAULT_PATH)
    try:
        return read_toml(path), path.parent
    except TomlError as error:
        hint = "" if named or path.exists() else "; -c FILE or $BUSMON_CONFIG names another"
        raise ConfigError([f"{error}{hint}"]) from error


def _texts(
    problems: Iterable[Problem], tables: Tables, variables: Mapping[Place, str]
) -> list[str]:
    """Return each problem once, in the order of the file."""
    ordered = sorted(problems, key=lambda problem: _position(tables, problem[0]))
    return list(dict.fromkeys(f"{_shown(place, variables)}: {text}" for place, text in ordered))


def _validate(tables: Tables, directory: Path) -> tuple[Config | None, list[Problem]]:
    context = {"directory": directory}
    config, problems = None, []
    try:
        config = Config.model_validate(tables, context=context)
    except ValidationError as error:
        problems = [_problem(detail) for detail in error.errors(include_input=False)]
    wrong = {place[:3] for place, _ in problems}
    problems += _web_problems(tables, context)
    problems += shared_credentials(tables, context)
    problems += ledger_problems(tables, context)
    sound = dict(_sound_buses(subtables(tables, "buses"), wrong, context))
    problems += [(("buses", *place), text) for place, text in _bus_problems(sound)]
    problems += _rules_problems(tables)
    problems += _audit_problems(tables, wrong)
    problems += archive_problems(tables, context)
    problems += _queue_problems(tables, sound)
    problems += longest_task_problems(tables)
    problems += service_level_problems(tables, wrong)
    return config, problems


def _problem(detail: ErrorDetails) -> Problem:
    kind, place = detail["type"], detail["loc"]
    if kind.startswith("union_tag"):
        place = (*place, "type")
    elif place[0] == "buses":
        place = place[:2] + place[3:]  # pydantic puts the type of the bus between
    elif place[-1] == "[key]":
        place = place[:-1]  # what is wrong is the name of a table
    return place, _text(detail)


def _text(detail: ErrorDetails) -> str:
    text = TEXTS.get(detail["type"]) or detail["msg"]
    return text.removeprefix("Value error, ").removeprefix("Input ")


def _sound_buses(
    tables: Tables, wrong: set[Place], context: dict[str, Any]
) -> Iterator[tuple[str, Bus]]:
    """Yield each bus without its wrong settings, if the others make a bus.

    So problems between settings are reported together with those of single settings.
    """
    adapter: TypeAdapter[Bus] = TypeAdapter(AnyBus)
    for name, table in tables.items():
        if not isinstance(table, dict):
            continue
        sound = {key: value for key, value in table.items() if ("buses", name, key) not in wrong}
        try:
            yield name, adapter.validate_python({"rules": "all"} | sound, context=context)
        except ValidationError:
            continue


def _web_problems(tables: Tables, context: dict[str, Any]) -> Iterator[Problem]:
    """Yield why the certificates of `[web]` cannot be used, if nothing else in it is wrong."""
    try:
        web = Web.model_validate(subtables(tables, "web"), context=context)
        if web.certificate:
            server_context(web.certificate, web.key, web.client_ca)
    except ValidationError:
        return
    except UnusableFile as error:
        yield ("web", error.setting), error.why


def _rules_problems(tables: Tables) -> Iterator[Problem]:
    """Yield why the rule set of a bus cannot be used, with the settings that it gets later."""
    try:
        rules = Rules.model_validate(subtables(tables, "rules"))
    except ValidationError:
        rules = Rules()
    for bus, table in subtables(tables, "buses").items():
        name = table.get("rules") if isinstance(table, dict) else None
        if isinstance(name, str):
            try:
                rule_set(name, rules)
            except ValueError as error:
                yield ("buses", bus, "rules"), str(error)


def _audit_problems(tables: Tables, wrong: set[Place]) -> Iterator[Problem]:
    """Yield the observers whose bus does not exist."""
    buses, audit = subtables(tables, "buses"), subtables(tables, "audit")
    for name, table in audit.items():
        bus = table.get("bus") if isinstance(table, dict) else None
        if isinstance(bus, str) and bus not in buses and ("audit", name, "bus") not in wrong:
            yield ("audit", name, "bus"), f"no such bus: {bus}"


def _queue_problems(tables: Tables, sound: Mapping[str, Bus]) -> Iterator[Problem]:
    """Yield the buses whose listener's queue cannot be looked at."""
    given = subtables(subtables(tables, "audit"), "queue").get("buses")
    try:
        queue = QueueSettings.model_validate({"buses": given})
    except ValidationError:
        return
    for name in queue.buses or ():
        if name not in subtables(tables, "buses"):
            yield ("audit", "queue", "buses"), f"no such bus: {name}"
        elif name in sound and not any(sound[name].problems()) and not sound[name].queue_names():
            yield ("audit", "queue", "buses"), f"{name}: no file names its listener's queue"


def _bus_problems(buses: Mapping[str, Bus]) -> Iterator[Problem]:
    """Yield the problems that the sources find, and what two buses must not share."""
    taken: dict[object, str] = {}
    for name, bus in buses.items():
        yield from (((name, key), text) for key, text in bus.problems())
        if (identity := bus.identity()) and taken.setdefault(identity, name) != name:
            other = taken[identity]
            text = f"is that of buses.{other} on the same broker; each needs its own"
            yield (name, identity[0]), text


def _position(tables: object, place: Place) -> list[int]:
    """Return where a place is in the file, as numbers to sort by."""
    position = []
    for key in place:
        keys = list(tables) if isinstance(tables, dict) else []
        position.append(key if isinstance(key, int) else keys.index(key) if key in keys else -1)
        tables = tables[key] if isinstance(tables, dict) and key in tables else None
    return position


def _shown(place: Place, variables: Mapping[Place, str]) -> str:
    """Return the place as people find it: a variable of the environment, else keys of the file."""
    for depth in range(len(place), 0, -1):
        # A variable also stands for the tables that it makes, but not for what is missing there.
        tables = {of[:depth] for of in variables if depth < min(len(of), len(place))}
        if place[:depth] in variables and place[:depth] not in tables:
            return variables[place[:depth]]
    keys = [
        key if re.fullmatch(r"[\w-]+", key) else json.dumps(key)
        for key in place
        if isinstance(key, str)
    ]
    items = [f", item {key + 1}" for key in place if isinstance(key, int)]
    return ".".join(keys) + "".join(items)
