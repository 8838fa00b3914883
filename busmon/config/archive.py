"""What can be wrong with `[archive]` beside its single settings."""

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from busmon.config.environment import Problem, Tables, subtables
from busmon.settings.archive import Archive
from busmon.tls import UnusableFile, client_context


def archive_problems(tables: Tables, context: dict[str, Any]) -> Iterator[Problem]:
    """Yield that the bus does not exist, and why the CA cannot be used."""
    given = subtables(tables, "archive")
    bus = given.get("bus")
    if isinstance(bus, str) and bus not in subtables(tables, "buses"):
        yield ("archive", "bus"), f"no such bus: {bus}"
    try:
        client_context(Archive.model_validate(given, context=context).ca, None, None)
    except ValidationError:
        return  # which is reported by itself
    except UnusableFile as error:
        yield ("archive", error.setting), error.why
