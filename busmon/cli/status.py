"""`busmon status`."""

import sys
from dataclasses import replace
from pathlib import Path

import click

from busmon.cli.common import FATAL, config_option, http_url, load_config
from busmon.text import printable


@click.command()
@config_option
@click.option(
    "--url",
    metavar="URL",
    callback=http_url,
    help="Where it serves, if not where the configuration says. Credentials are taken from the"
    " configuration only where that is named, too.",
)
def status(path: Path | None, url: str | None) -> None:
    """Tell whose fault it is that messages do not get through.

    Asks the running service, and prints its verdict and the evidence.

    \b
    none        all is well
    busmon      it is blind itself, or does not answer
    connection  busmon's connection to a bus is down
    bus         connected, and the whole bus is silent
    listener    the bus flows, and the listener does not pass on
    workers     the listener passed on, and the workers do not finish
    publisher   some topics are silent, and others flow

    Exit status: 0 all is well, 1 it is not, 2 the command line or the configuration is wrong.
    """  # noqa: D301 - click's mark of lines to be kept, and no backslash
    from busmon.commands.status import Endpoint, NoAnswer, ask, where
    from busmon.diagnosis.verdict import FaultKind, Verdict

    at = Endpoint("") if url and not path else where(load_config(path).web)
    at = replace(at, url=url) if url else at
    try:
        found = ask(at)
    except NoAnswer as error:
        found = Verdict(FaultKind.BUSMON, "", (f"busmon does not answer at {at.url}: {error}",))
    click.echo(found.kind)
    for line in found.evidence:
        click.echo(f"  {printable(' '.join(line.split()))}")
    sys.exit(0 if found.kind is FaultKind.NONE else FATAL)
