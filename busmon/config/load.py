"""The configuration: a TOML file and the environment become one `Config` or one `ConfigError`."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from busmon.config.environment import Place, Tables, override, subtables
from busmon.rules import rule_set
from busmon.settings.models import AmqpBus, AnyBus, Config, MqttBus, Rules, StompBus, mqtt_broker
from busmon.sources.amqp import fedora_toml

DEFAULT_PATH = "/etc/busmon/busmon.toml"

Problem = tuple[Place, str]

TEXTS = {  # where pydantic's own words are not for those who write a TOML file
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
    "string_pattern_mismatch": "a bus name should be of a-z, 0-9, _ and -, a letter first",
    "string_too_short": "should not be empty",
    "string_type": "should be a string",
    "too_short": "should not be empty",
    "tuple_type": "should be a list",
    "union_tag_invalid": "should be amqp, mqtt, stomp or replay",
    "union_tag_not_found": "is missing; it should be amqp, mqtt, stomp or replay",
    "uuid_parsing": "should be a UUID",
    "uuid_type": "should be a UUID",
}


class ConfigError(Exception):
    """The configuration can't be used; `problems` holds all that is wrong, each with its place."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read the file, else that of $BUSMON_CONFIG, else the default's; raises ConfigError."""
    path = path or Path(environ.get("BUSMON_CONFIG") or DEFAULT_PATH)
    tables = _parse(path)
    variables, misfits = override(tables, environ)
    config, problems = _validate(tables, path.parent)
    if config and not problems and not misfits:
        return config
    problems = sorted(problems, key=lambda problem: _position(tables, problem[0]))
    told = [f"{_written(place, variables)}: {text}" for place, text in problems]
    raise ConfigError(list(dict.fromkeys(told + misfits)))


def _parse(path: Path) -> Tables:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is not UTF-8 text"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: {error}"]) from None
    except RecursionError:
        raise ConfigError([f"{path}: is nested too deeply"]) from None


def _validate(tables: Tables, directory: Path) -> tuple[Config | None, list[Problem]]:
    context = {"directory": directory}
    config, problems = None, []
    try:
        config = Config.model_validate(tables, context=context)
    except ValidationError as error:
        problems = [_problem(detail) for detail in error.errors(include_input=False)]
    wrong = {place[:3] for place, _ in problems}
    sound = dict(_sound_buses(subtables(tables, "buses"), wrong, context))
    problems += [(("buses", *place), text) for place, text in _bus_problems(sound)]
    problems += _rule_problems(subtables(tables, "buses"), wrong)
    problems += _audit_problems(tables, wrong)
    return config, problems


def _problem(detail: ErrorDetails) -> Problem:
    kind, place = detail["type"], detail["loc"]
    if kind.startswith("union_tag"):
        place = (*place, "type")
    elif place[0] == "buses":
        place = place[:2] + place[3:]  # pydantic puts the type of the bus between
    text = TEXTS.get(kind) or detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return place, text


def _sound_buses(
    tables: Tables, wrong: set[Place], context: dict[str, Any]
) -> Iterator[tuple[str, AnyBus]]:
    """Yield the buses as they are without what is wrong, where that leaves a bus.

    So what lies between settings is told at once with what is wrong in another one.
    """
    adapter: TypeAdapter[AnyBus] = TypeAdapter(AnyBus)
    for name, table in tables.items():
        if not isinstance(table, dict):
            continue
        sound = {key: value for key, value in table.items() if ("buses", name, key) not in wrong}
        try:
            yield name, adapter.validate_python({"rules": "all"} | sound, context=context)
        except ValidationError:
            continue


def _rule_problems(tables: Tables, wrong: set[Place]) -> Iterator[Problem]:
    """Yield the rule books that can't be had: the listener's own code can't be imported."""
    for name, table in tables.items():
        place = ("buses", name, "rules")
        rules = table.get("rules") if isinstance(table, dict) else None
        if isinstance(rules, str) and place not in wrong:
            try:
                rule_set(rules, Rules())
            except ValueError as error:
                yield place, str(error)


def _audit_problems(tables: Tables, wrong: set[Place]) -> Iterator[Problem]:
    """Yield what an observer does not have: the bus that it is named after, its library."""
    buses, audit = subtables(tables, "buses"), subtables(tables, "audit")
    for name, table in audit.items():
        bus = table.get("bus") if isinstance(table, dict) else None
        if isinstance(bus, str) and bus not in buses and ("audit", name, "bus") not in wrong:
            yield ("audit", name, "bus"), f"no such bus: {bus}"
    if "celery" in audit and not (find_spec("celery") and find_spec("redis")):
        yield ("audit", "celery"), 'needs Celery: install busmon with its extra "celery"'


def _bus_problems(buses: Mapping[str, AnyBus]) -> Iterator[Problem]:
    taken: dict[object, str] = {}
    for name, bus in buses.items():
        broker: object = None
        if isinstance(bus, AmqpBus):
            try:
                toml = fedora_toml.read(bus.config)
            except fedora_toml.UnusableToml as error:
                yield from (((name, "config"), problem) for problem in error.problems)
                continue
            yield from (((name, key), text) for key, text in _listener_problems(bus, toml))
            broker = (toml.broker.lower(), toml.vhost)
        key, identity = _identity(bus, broker)
        if identity and taken.setdefault((key, *identity), name) != name:
            other = taken[key, *identity]
            yield (name, key), f"is that of buses.{other} on the same broker; each needs its own"


def _listener_problems(bus: AmqpBus, toml: fedora_toml.FedoraToml) -> Iterator[tuple[str, str]]:
    if str(bus.queue) in {queue.lower() for queue in toml.queues}:
        yield (
            "queue",
            f"{bus.queue} is the listener's queue in {toml.path}; "
            "consuming from it would steal the listener's messages",
        )
    if not fedora_toml.bindings(bus, toml):
        key = "config" if bus.routing_keys is None else "routing_keys"
        yield key, "leaves nothing to receive: no binding and no routing key"


def _identity(bus: AnyBus, broker: object) -> tuple[str, tuple[object, ...] | None]:
    """Return by which setting, and by what, its broker knows the bus."""
    match bus:
        case AmqpBus(queue=UUID() as queue):
            return "queue", (broker, queue)
        case MqttBus(url=url, client_id=client_id):
            return "client_id", (mqtt_broker(url.lower()), client_id)
        case StompBus(brokers=brokers, client_id=str(client_id)):
            return "client_id", (frozenset(broker.lower() for broker in brokers), client_id)
        case _:
            return "", None


def _position(tables: object, place: Place) -> list[int]:
    """Return where in the file a place is, as numbers to sort by."""
    position = []
    for key in place:
        keys = list(tables) if isinstance(tables, dict) else []
        position.append(key if isinstance(key, int) else keys.index(key) if key in keys else -1)
        tables = tables[key] if isinstance(tables, dict) and key in tables else None
    return position


def _written(place: Place, variables: Mapping[Place, str]) -> str:
    """Return the place as a reader finds it: in the environment, else in the file."""
    for depth in range(len(place), 0, -1):
        if place[:depth] in variables:
            return variables[place[:depth]]
    keys = [
        key if re.fullmatch(r"[\w-]+", key) else json.dumps(key)
        for key in place
        if isinstance(key, str)
    ]
    items = [f", item {key + 1}" for key in place if isinstance(key, int)]
    return ".".join(keys) + "".join(items)
