"""Values of the environment in place of those of the configuration file.

`BUSMON__BUSES__CENTOS__PASSWORD` is `password` in `[buses.centos]`: two underscores part the
keys, and case is of no matter. Values stay strings here; the settings' types convert them.
"""

from collections.abc import Mapping
from typing import Any

PREFIX = "BUSMON__"

Place = tuple[int | str, ...]  # keys from the outermost table inwards, and positions in lists
Tables = dict[str, Any]


def override(tables: Tables, environ: Mapping[str, str]) -> tuple[dict[Place, str], list[str]]:
    """Put the environment's values into `tables`; return whence they are, and what fits nowhere."""
    variables: dict[Place, str] = {}
    misfits = []
    for variable in sorted(name for name in environ if name.upper().startswith(PREFIX)):
        place = _named_place(variable, tables)
        table, problem = _table(tables, place, variable, variables)
        if not problem and isinstance(table.get(place[-1]), dict):
            problem = "is a table, not a setting"
        if problem:
            misfits.append(f"{variable}: {problem}")
            continue
        table[place[-1]] = environ[variable]
        variables[place] = variable
    return variables, misfits


def _named_place(variable: str, tables: Tables) -> tuple[str, ...]:
    """Return the place that a variable names; it can't have the dash that a bus's name has."""
    place = variable[len(PREFIX) :].lower().split("__")
    buses = subtables(tables, "buses")
    if place[0] == "buses" and len(place) > 1 and place[1] not in buses:
        place[1] = next((bus for bus in buses if bus.replace("-", "_") == place[1]), place[1])
    return tuple(place)


def _table(
    tables: Tables, place: tuple[str, ...], variable: str, variables: dict[Place, str]
) -> tuple[Tables, str | None]:
    """Return the table that `place` is in, made where it isn't there, or why there is none."""
    if place[0] == "buses" and len(place) > 1 and place[1] not in subtables(tables, "buses"):
        return {}, "the configuration file has no such bus"
    table = tables
    for depth, key in enumerate(place[:-1], 1):
        if key not in table:
            table[key] = {}
            variables[place[:depth]] = variable
        table = table[key]
        if not isinstance(table, dict):
            return {}, "is in a setting, not in a table"
    return table, None


def subtables(tables: Tables, key: str) -> Tables:
    """Return the table under `key`, an empty one where there is none."""
    table = tables.get(key)
    return table if isinstance(table, dict) else {}
