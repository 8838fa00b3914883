"""`busmon status`."""

import sys
from pathlib import Path

import click

from busmon.cli.common import FATAL, config_option, find_endpoint, url_option
from busmon.text import format_number, format_time, printable


@click.command()
@config_option
@url_option("Where the service is, instead of the configured [web] listen.")
def status(path: Path | None, url: str | None) -> None:
    """Show whether messages get through, or whose fault it is.

    Asks the running service, and prints its verdict on each bus with the evidence.

    \b
    none        all is well
    busmon      busmon itself cannot watch, or does not answer
    connection  busmon's connection to the bus is down, or its queue there loses messages
    bus         busmon is connected, but the whole bus is silent
    listener    the bus delivers, but the listener does not pass messages on
    workers     the listener passes messages on, but the workers fail or never finish
    publisher   some topics are silent, others are not

    Exit status: 0 all is well on every bus, 1 something is wrong, 2 wrong command line or
    configuration.
    """  # noqa: D301 - click's mark of lines to be kept, and no backslash
    from busmon.commands.endpoint import NoAnswer
    from busmon.commands.status import fetch_status
    from busmon.diagnosis.verdict import FaultKind, worst

    endpoint, _ = find_endpoint(path, url)
    try:
        verdicts, lost = fetch_status(endpoint)
    except NoAnswer as error:
        click.echo(f"busmon does not answer at {endpoint.url}: {error}")
        sys.exit(FATAL)
    for bus, (kind, evidence, since) in verdicts.items():
        at_fault = f", since {format_time(since)}" if since and kind is not FaultKind.NONE else ""
        click.echo(_line(f"{bus}: {kind}{at_fault}"))
        for line in evidence:
            click.echo(f"  {_line(line)}")
    for bus, messages in lost.items():
        still = format_number(messages, "message")
        click.echo(_line(f"{bus}: no longer configured, but {still} still lost (busmon gaps)"))
    sys.exit(0 if worst(verdicts.values()) is FaultKind.NONE else FATAL)


def _line(text: str) -> str:
    return printable(" ".join(text.split()))
