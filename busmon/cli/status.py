"""`busmon status`."""

import sys
from dataclasses import replace
from pathlib import Path

import click

from busmon.cli.common import FATAL, config_option, http_url, load_config
from busmon.text import format_time, printable


@click.command()
@config_option
@click.option(
    "--url",
    metavar="URL",
    callback=http_url,
    help="Where the service is, instead of the configured [web] listen. Without -c no credentials"
    " are sent.",
)
def status(path: Path | None, url: str | None) -> None:
    """Show whether messages get through, or whose fault it is.

    Asks the running service, and prints its verdict and the evidence.

    \b
    none        all is well
    busmon      busmon itself cannot watch, or does not answer
    connection  busmon's connection to a bus is down
    bus         busmon is connected, but the whole bus is silent
    listener    the bus delivers, but the listener does not pass messages on
    workers     the listener passes messages on, but the workers do not finish them
    publisher   some topics are silent, others are not

    Exit status: 0 all is well, 1 something is wrong, 2 wrong command line or configuration.
    """  # noqa: D301 - click's mark of lines to be kept, and no backslash
    from busmon.commands.endpoint import Endpoint, NoAnswer, own_endpoint
    from busmon.commands.status import fetch_verdict
    from busmon.diagnosis.verdict import FaultKind, Verdict

    endpoint = Endpoint("") if url and not path else own_endpoint(load_config(path).web)
    endpoint = replace(endpoint, url=url) if url else endpoint
    try:
        verdict = fetch_verdict(endpoint)
    except NoAnswer as error:
        why = f"busmon does not answer at {endpoint.url}: {error}"
        verdict = Verdict(FaultKind.BUSMON, "", (why,))
    click.echo(verdict.kind)
    if verdict.since is not None and verdict.kind is not FaultKind.NONE:
        click.echo(f"  seen since {format_time(verdict.since)}")
    for line in verdict.evidence:
        click.echo(f"  {printable(' '.join(line.split()))}")
    sys.exit(0 if verdict.kind is FaultKind.NONE else FATAL)
