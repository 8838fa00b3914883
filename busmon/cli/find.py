"""`busmon find`."""

import json
import sys
from pathlib import Path

import click

from busmon.cli.common import (
    CONFIGURATION,
    FATAL,
    Number,
    config_option,
    fail,
    find_endpoint,
    url_option,
)
from busmon.message import Outcome

NOT_FOUND = 1


@click.command()
@click.argument("words", metavar="QUERY...", nargs=-1, required=True)
@config_option
@url_option("Where the service is, instead of the configured [web] listen.")
@click.option("--bus", metavar="NAME", help="Only this bus.")
@click.option("--topic", metavar="TOPIC", help="Only this topic; its last parts are enough.")
@click.option(
    "--outcome",
    type=click.Choice([outcome.value for outcome in Outcome]),
    help="Only messages with this outcome.",
)
@click.option("--since", metavar="TIME", help="Only messages received since then.")
@click.option("--until", metavar="TIME", help="Only messages received before this time.")
@click.option(
    "--limit",
    type=Number(1, 200),
    metavar="N",
    default=50,
    show_default=True,
    help="The number of messages.",
)
@click.option(
    "--before",
    metavar="NUMBER",
    type=Number(1),
    help="Go on from there: the number at the end of the last answer.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object, that of /v1/messages.")
def find(
    words: tuple[str, ...],
    path: Path | None,
    url: str | None,
    as_json: bool,
    **limits: str | int | None,
) -> None:
    """Find messages by what they are about.

    QUERY is a package, project, pull request, build, task, NVR, tag, commit, or the id of a
    message or task. `build:1044215` looks only for a build. A message matches if each word
    does. Asks the running service, as its page /messages does. The newest messages come first.
    A search reads a part of the ledger: if there can be more, it says with which --before to go
    on. With [archive], the last line is the URL of what the archive has of an id, package or
    owner.

    TIME is in UTC, "2026-03-01 14:05", or how long ago that was: 90m, 24h, 7d.

    Exit status: 0 messages are found, 1 none is so far, or the service does not answer, 2 wrong
    command line or configuration.
    """
    from busmon.commands.endpoint import NoAnswer, Refused
    from busmon.commands.find_service import ask

    if not "".join(words).strip():
        raise click.BadParameter("should not be empty", param_hint="QUERY")
    endpoint, _ = find_endpoint(path, url)
    given = {name: None if value is None else str(value) for name, value in limits.items()}
    try:
        found = ask(endpoint, {"q": " ".join(words), **given})
    except NoAnswer as error:
        fail(FATAL, f"busmon does not answer at {endpoint.url}: {error}")
    except Refused as error:
        fail(CONFIGURATION, str(error))
    click.echo(json.dumps(found.answer, indent=2) if as_json else "\n".join(found.lines))
    sys.exit(0 if found.some else NOT_FOUND)
