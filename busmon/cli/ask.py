"""What the commands share that ask the ledger: its file, or with `--url` the running service."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from busmon.cli.common import (
    CONFIGURATION,
    config_option,
    fail,
    find_endpoint,
    ledger_path,
    load_config,
    url_option,
)

if TYPE_CHECKING:
    from busmon.commands.questions import Printed, Question
    from busmon.config.model import Config
    from busmon.ledger.tables import Tables
    from busmon.settings.postgresql import Database

ledger_option = click.option(
    "--ledger",
    metavar="PATH",
    callback=ledger_path,
    help="The ledger in this file, instead of the configured one.",
)


def asks_ledger(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say where the ledger is, or the service that has it."""
    where = url_option("Ask the running service there, instead of reading the ledger.")
    return config_option(ledger_option(where(command)))


def answer(
    question: "Question", path: Path | None, ledger: str | None, url: str | None
) -> NoReturn:
    """Print the answer of the ledger or the service, and exit."""
    from busmon.commands.gaps import NothingToAskOf

    if url and ledger:
        raise click.UsageError("give either --ledger or --url")
    if url:
        finish(_ask_service(question, path, url))
    with open_ledger(path, ledger) as (tables, config):
        try:
            printed = question.answer(tables, config, time.time())
        except NothingToAskOf as error:
            fail(CONFIGURATION, str(error))
    finish(printed)


def finish(printed: "Printed") -> NoReturn:
    """Print, and exit."""
    if printed.output:
        click.echo(printed.output)
    sys.exit(printed.status)


def _ask_service(question: "Question", path: Path | None, url: str) -> "Printed":
    from busmon.commands.endpoint import NoAnswer, Refused
    from busmon.commands.service import put

    endpoint, _ = find_endpoint(path, url)
    try:
        return put(endpoint, question)
    except NoAnswer as error:
        fail(CONFIGURATION, f"busmon does not answer at {endpoint.url}: {error}")
    except Refused as error:
        fail(CONFIGURATION, str(error))


@contextmanager
def open_ledger(
    path: Path | None, ledger: "str | Database | None"
) -> Iterator[tuple["Tables", "Config | None"]]:
    """Open the ledger for reading, or print why that failed and exit with 2.

    Yield it with the configuration, which is not read if only a ledger is named.
    """
    from busmon.ledger.engines import open_read_only
    from busmon.ledger.errors import LedgerError

    config = None
    if path or ledger is None:
        config = load_config(path)
        ledger = ledger or config.ledger.place()
    try:
        with open_read_only(ledger) as tables:
            yield tables, config
    except LedgerError as error:
        fail(CONFIGURATION, str(error))
