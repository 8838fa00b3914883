"""Values from the environment, which replace those of the configuration file.

`BUSMON__BUSES__CENTOS__PASSWORD` is `password` in `[buses.centos]`: two underscores separate
the keys, which are case-insensitive. Values are strings here; the settings convert them.
"""

from collections.abc import Mapping
from typing import Any

PREFIX = "BUSMON__"

NAMED = (("buses",), ("slo",), ("web", "operators"))  # tables of tables that have names

Place = tuple[int | str, ...]  # keys from the outermost table inwards, and positions in lists
Tables = dict[str, Any]
Problem = tuple[Place, str]


def override(tables: Tables, environ: Mapping[str, str]) -> tuple[dict[Place, str], list[str]]:
    """Put the values of the environment into `tables`.

    Return the variable of each value, and a problem for each variable that names no setting.
    """
    variables: dict[Place, str] = {}
    unknown = []
    for variable in sorted(name for name in environ if name.upper().startswith(PREFIX)):
        place = _named_place(variable, tables)
        table, problem = _table(tables, place, variable, variables)
        if not problem and isinstance(table.get(place[-1]), dict):
            problem = "is a table, not a setting"
        if problem:
            unknown.append(f"{variable}: {problem}")
            continue
        table[place[-1]] = environ[variable]
        variables[place] = variable
    return variables, unknown


def _named_place(variable: str, tables: Tables) -> tuple[str, ...]:
    """Return the place that a variable names. "_" also stands for the "-" in a table's own name."""
    place = variable[len(PREFIX) :].lower().split("__")
    for parent in NAMED:
        depth = len(parent)
        if tuple(place[:depth]) == parent and len(place) > depth:
            names = tables
            for key in parent:
                names = subtables(names, key)
            if (name := place[depth]) not in names:
                place[depth] = next((n for n in names if n.replace("-", "_") == name), name)
    return tuple(place)


def _table(
    tables: Tables, place: tuple[str, ...], variable: str, variables: dict[Place, str]
) -> tuple[Tables, str | None]:
    """Return the table that has `place`, a new one if needed, or why there is none."""
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
    """Return the table under `key`, or an empty one if there is none."""
    table = tables.get(key)
    return table if isinstance(table, dict) else {}
