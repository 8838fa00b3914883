"""What the commands share: configuration, log, errors and exit statuses."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from busmon.text import check_host

if TYPE_CHECKING:
    from busmon.commands.endpoint import Endpoint
    from busmon.config.model import Config
    from busmon.settings.lint import Lint
    from busmon.settings.models import Log, Web
    from busmon.sources.amqp.settings import AmqpBus

FATAL = 1  # exit statuses
CONFIGURATION = 2

WEB = "BUSMON__WEB__"
CREDENTIALS = ("token", "username", "password")
LOGIN = f"${WEB}TOKEN, or ${WEB}USERNAME and ${WEB}PASSWORD"

config_option = click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The configuration. Default: $BUSMON_CONFIG, or /etc/busmon/busmon.toml.",
)


class Number(click.IntRange):
    """A whole number within bounds, called so in errors."""

    name = "whole number"


def not_empty(_context: click.Context, _option: click.Parameter, text: str) -> str:
    """Return the text that an option was given; reject a blank one."""
    if not text.strip():
        raise click.BadParameter("should not be empty")
    return text


def ledger_path(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    """Return the path that an option was given; reject an empty one, and a URL."""
    if text == "":  # SQLite would open a temporary file
        raise click.BadParameter("should not be empty")
    if text and text.startswith(("postgres:", "postgresql:")):  # others can see the command line
        raise click.BadParameter("should be a file; a database is named by [ledger] url")
    return text


def http_url(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    """Return the URL that an option was given; reject one with credentials."""
    if text is None:
        return None
    found = re.fullmatch(r"https?://(\[[\da-fA-F:]+\]|[\w.-]+)(:\d{1,5})?(/\S*)?", text)
    if not found:
        raise click.BadParameter("should be http://HOST:PORT or https://HOST:PORT")
    try:
        check_host(found[1])
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return text


def url_option(what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the option that says where the service is; `what` describes it."""
    help_text = f"{what} Without -c, its token or login is taken from {LOGIN}, if they are set."
    return click.option("--url", metavar="URL", callback=http_url, help=help_text)


def load_config(path: Path | None) -> "Config":
    """Return the configuration, or print every problem and exit with 2."""
    from busmon.config.load import load

    with _problems():
        return load(path, os.environ)


def load_lists(path: Path | None, *, with_buses: bool) -> "tuple[Lint, list[AmqpBus]]":
    """Return what `busmon lint` compares, or print every problem and exit with 2."""
    from busmon.config.load import load_lists as load

    with _problems():
        return load(path, os.environ, with_buses=with_buses)


@contextmanager
def _problems() -> Iterator[None]:
    from busmon.config.load import ConfigError

    try:
        yield
    except ConfigError as error:
        fail(CONFIGURATION, *error.problems)


def find_endpoint(path: Path | None, url: str | None) -> "tuple[Endpoint, Web]":
    """Return where the service is, by its configuration and `--url`, with its `[web]`.

    With `--url` alone no configuration is read, and the environment has the credentials.
    """
    from busmon.commands.endpoint import own_endpoint

    web = load_config(path).web if path or not url else _reader()
    endpoint = own_endpoint(web)
    return replace(endpoint, url=url) if url else endpoint, web


def _reader() -> "Web":
    """Return a `[web]` with the credentials of the environment, or exit with 2."""
    from pydantic import ValidationError

    from busmon.settings.models import Web

    given = {name: os.environ.get(f"{WEB}{name.upper()}") for name in CREDENTIALS}
    try:
        return Web.model_validate({name: text for name, text in given.items() if text})
    except ValidationError:
        fail(CONFIGURATION, f"no credentials as {LOGIN} should have")


def fail(status: int, *lines: str) -> NoReturn:
    """Print these lines on standard error, and exit with this status."""
    for line in lines:
        click.echo(f"busmon: {line}", err=True)
    sys.exit(status)


@contextmanager
def fatal(*errors: type[Exception]) -> Iterator[None]:
    """Exit with status 1 and one line on standard error if one of these errors is raised."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader of the output has closed it: click exits silently
    except errors as error:
        fail(FATAL, str(error))


def set_up_log(settings: "Log") -> None:
    """Set up the log."""
    from busmon import logs

    logs.setup(settings)
