"""What the commands share: their configuration, their log, their errors and exit statuses."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from busmon.config.model import Config
    from busmon.settings.models import Log

FATAL = 1  # exit statuses
CONFIGURATION = 2

config_option = click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration; else $BUSMON_CONFIG, else /etc/busmon/busmon.toml.",
)


def http_url(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    """Return what an option was given, where it is a URL without credentials."""
    if text is not None and not re.fullmatch(
        r"https?://(\[[\da-fA-F:]+\]|[\w.-]+)(:\d{1,5})?(/\S*)?", text
    ):
        raise click.BadParameter("should be http://HOST:PORT or https://HOST:PORT")
    return text


def load_config(path: Path | None) -> "Config":
    """Return the configuration, or print every problem and exit with 2."""
    from busmon.config.load import ConfigError, load

    try:
        return load(path, os.environ)
    except ConfigError as error:
        fail(CONFIGURATION, *error.problems)


def fail(status: int, *lines: str) -> NoReturn:
    """End the program with this status, and these lines on standard error."""
    for line in lines:
        click.echo(f"busmon: {line}", err=True)
    sys.exit(status)


@contextmanager
def fatal(*errors: type[Exception]) -> Iterator[None]:
    """Let these errors end the program with one line of what is wrong."""
    try:
        yield
    except BrokenPipeError:
        raise  # whoever reads the output wants no more: click ends without a word
    except errors as error:
        fail(FATAL, str(error))


def set_up_log(settings: "Log") -> None:
    """Set up the log."""
    from busmon import logs

    logs.setup(settings)
