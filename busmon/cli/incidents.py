"""`busmon incidents`."""

from pathlib import Path
from typing import Literal

import click

from busmon.cli.ask import answer, asks_ledger
from busmon.cli.times import past_time


@click.command()
@asks_ledger
@click.option(
    "--since",
    default="7d",
    show_default=True,
    callback=past_time,
    metavar="TIME",
    help="Only incidents that ended since then, or go on.",
)
@click.option("--bus", metavar="NAME", help="Only this bus.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "markdown"]),
    default="table",
    show_default=True,
    help="Output format; markdown is a report for a post-mortem.",
)
def incidents(
    path: Path | None,
    ledger: str | None,
    url: str | None,
    since: float,
    bus: str | None,
    form: Literal["table", "json", "markdown"],
) -> None:
    """List when all was not well, and what was lost.

    An incident is a time in which the verdict on a bus was of one kind, and not `none`. Shown
    are its begin, end and duration, the evidence, how many messages of this time and of the
    windows before did not reach a stage and what became of them, and when busmon was blind.
    Then come what was accepted meanwhile, and what is still lost.

    An incident goes on over a restart of busmon if the fault is seen again within 5 minutes of
    the start. One that is over for less than a minute goes on, too.

    All times are in UTC. TIME is one that is printed here, "2026-03-01 14:05:00", or how long ago
    that was: 90m, 24h, 7d. Incidents are kept for 13 months. The service can run meanwhile.

    Exit status: 0, or 2 if the command line or the configuration is wrong, the ledger cannot be
    read, it knows no such bus, or the service does not answer.
    """
    from busmon.commands.questions import Incidents

    answer(Incidents(since, bus, form), path, ledger, url)
