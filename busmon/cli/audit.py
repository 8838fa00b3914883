"""The commands that read the ledger while the service writes it: gaps and trace."""

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from busmon.cli.common import CONFIGURATION, config_option, fail, load_config

if TYPE_CHECKING:
    from busmon.ledger.tables import Tables

FOUND = 1  # exit status: there are gaps
UNKNOWN = 1  # exit status: no such message

ledger_option = click.option(
    "--ledger", metavar="PATH", help="Instead of the configured [ledger] path."
)


def _seconds(_context: click.Context, _option: click.Parameter, text: str) -> int:
    from busmon.settings.units import UNITS

    match = re.fullmatch(rf"(\d+) ?({'|'.join(UNITS)})", text)
    if not match or int(match[1]) * UNITS[match[2]] > time.time():
        raise click.BadParameter("should be a number and a unit: 90m, 24h, 7d")
    return int(match[1]) * UNITS[match[2]]


@click.command()
@config_option
@ledger_option
@click.option(
    "--since",
    default="24h",
    show_default=True,
    callback=_seconds,
    metavar="DURATION",
    help="How far to look back.",
)
@click.option("--bus", metavar="NAME", help="Of this bus only.")
@click.option("--topic", metavar="TOPIC", help="Of this topic only.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "ids"]),
    default="table",
    show_default=True,
    help="How to print them; ids: only those of the messages, one a line.",
)
@click.option(
    "--unconfirmed",
    is_flag=True,
    help="Also the messages of the times without data, of which nobody knows what became.",
)
def gaps(
    path: Path | None,
    ledger: str | None,
    since: int,
    bus: str | None,
    topic: str | None,
    form: str,
    unconfirmed: bool,
) -> None:
    """Tell which messages are missing, and where.

    Reads the books that `busmon run` closes, also while it runs: for each window, stage and
    topic the ids of the messages that should have come by and did not, each with the
    command that lets the listener consume it again. That takes it from Datagrepper, which
    has Fedora's messages; those of MQTT and STOMP are in no archive. Of a listener without
    a tap it is only known how many messages are missing, not which. Times without data,
    because busmon or an observer did not see all, are told apart, and are no gaps. Which
    messages were to be handled then is told with --unconfirmed.

    With --ledger no configuration is needed; with a configuration the commands name the
    file in the bus's `config`. They are run where the listener is installed.

    Exit status: 0 nothing is missing, 1 there are gaps, 2 the command line, the
    configuration or the ledger is no good.
    """
    from busmon.commands.gaps import as_ids, as_json, as_table, find

    config = load_config(path) if path or ledger is None else None
    with _ledger(ledger or (config.ledger.path if config else "")) as tables:
        found = find(tables, time.time() - since, bus, topic, config, unconfirmed=unconfirmed)
    render: Callable[..., str] = {"table": as_table, "json": as_json, "ids": as_ids}[form]
    if text := render(found):
        click.echo(text)
    sys.exit(FOUND if found.gaps else 0)


@click.command()
@click.argument("identity", metavar="ID")
@config_option
@ledger_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, an object a bus.")
def trace(identity: str, path: Path | None, ledger: str | None, as_json: bool) -> None:
    """Tell everything that is known of one message.

    When it was seen, on which bus and how late; how it was judged and why; what the
    listener did with it, as which task; what became of that; and whether it was missing.

    Exit status: 0 it is on record, 1 it is not, 2 the command line, the configuration or
    the ledger is no good.
    """
    from busmon.commands import trace

    file = ledger or load_config(path).ledger.path
    with _ledger(file) as tables:
        found = trace.trace(tables, identity)
        reaches = None if found else tables.messages.oldest()
    if not found:
        click.echo("[]" if as_json else trace.unknown(identity, reaches))
        sys.exit(UNKNOWN)
    click.echo(trace.as_json(found) if as_json else trace.as_text(identity, found))


@contextmanager
def _ledger(path: str) -> Iterator["Tables"]:
    """Open the ledger for reading, or say why not and exit with 2."""
    from busmon.ledger.sqlite import LedgerError, open_read_only

    try:
        with open_read_only(path) as tables:
            yield tables
    except LedgerError as error:
        fail(CONFIGURATION, str(error))
