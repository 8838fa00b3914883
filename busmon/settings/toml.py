"""Reading a TOML file."""

import tomllib
from pathlib import Path
from typing import Any

MAX_DEPTH = 50  # of tables and arrays; whoever reads the tables may use recursion


class TomlError(Exception):
    """The file cannot be read; the text names it and says why."""


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a file; raises TomlError."""
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise TomlError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TomlError(f"{path}: is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise TomlError(f"{path}: {error}") from None
    except RecursionError:
        raise TomlError(f"{path}: is nested too deeply") from None
    if not _is_shallow(tables):  # dotted keys nest without recursion in the parser
        raise TomlError(f"{path}: is nested too deeply")
    return tables


def _is_shallow(tables: dict[str, Any]) -> bool:
    level: list[Any] = [tables]
    for _ in range(MAX_DEPTH):
        items = (one.values() if isinstance(one, dict) else one for one in level)
        level = [item for one in items for item in one if isinstance(item, dict | list)]
        if not level:
            return True
    return False
