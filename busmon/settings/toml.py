"""Reading a TOML file."""

import tomllib
from pathlib import Path
from typing import Any


class TomlError(Exception):
    """The file cannot be read; the text names it and says why."""


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a file; raises TomlError."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise TomlError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TomlError(f"{path}: is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise TomlError(f"{path}: {error}") from None
    except RecursionError:
        raise TomlError(f"{path}: is nested too deeply") from None
