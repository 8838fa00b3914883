"""`busmon lint`."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from busmon.cli.common import CONFIGURATION, FATAL, config_option, fail, load_lists

if TYPE_CHECKING:
    from busmon.commands.lint import Result


def _acceptances(
    _context: click.Context, _option: click.Parameter, texts: tuple[str, ...]
) -> tuple[str, ...]:
    """Return what an option was given; refuse what is no acceptance."""
    from busmon.settings.lint import Acceptance

    try:
        for text in texts:
            Acceptance.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return texts


SourceTree = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@config_option
@click.option(
    "--fedora-toml",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The listener's fedora-messaging file. Default: those of the configured amqp buses.",
)
@click.option(
    "--listener-source",
    type=SourceTree,
    metavar="DIR",
    help="A clone of packit-service-fedmsg, or its installed package.",
)
@click.option(
    "--worker-source",
    type=SourceTree,
    metavar="DIR",
    help="A clone of packit-service, or its installed package.",
)
@click.option(
    "--accept",
    multiple=True,
    metavar="KIND:TOPIC",
    callback=_acceptances,
    help="Accept this difference, as [lint] accept does; TOPIC can be a pattern. Can be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def lint(
    path: Path | None,
    fedora_toml: Path | None,
    listener_source: Path | None,
    worker_source: Path | None,
    accept: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compare the lists of topics that are maintained by hand.

    Compares busmon's rules for Packit with the listener's bindings, the listener's callbacks
    and the worker's parsers. The code is only read, never run. Prints one line per topic on
    which two lists disagree. Needs no certificate and no secret: it reads lists only. With
    --fedora-toml it reads no configuration but that of -c, and of that only what is accepted.

    \b
    bound-not-mapped   the listener receives it, but no rule knows it
    mapped-not-bound   a rule knows it, but the listener does not receive it
    watched-not-bound  the same, but busmon receives it by routing keys of its own
    listener-only      the listener has a callback, but busmon has no rule
    busmon-only        busmon has a rule, but the listener has no callback
    passed-not-parsed  the listener passes it on, but the worker has no parser

    Exit status: 0 the lists agree, or all differences are accepted; 1 they do not agree; 2 one
    of them cannot be read.
    """  # noqa: D301 - click's mark of lines to be kept, and no backslash
    from busmon.commands.lint import LintError, Lists, bindings_of, bound_by, mapped_by, parsed_by
    from busmon.commands.lint import lint as compare
    from busmon.settings.lint import Lint

    configured = path or not fedora_toml
    settings, buses = load_lists(path, with_buses=not fedora_toml) if configured else (Lint(), [])
    try:
        lists = Lists(
            {str(fedora_toml): bound_by(fedora_toml)} if fedora_toml else bindings_of(buses),
            mapped_by(listener_source) if listener_source else None,
            parsed_by(worker_source) if worker_source else None,
        )
    except LintError as error:
        fail(CONFIGURATION, str(error))
    result = compare(lists, (*settings.accept, *accept))
    if as_json:
        click.echo(json.dumps({"compared": lists.summary()} | asdict(result), indent=2))
    else:
        _print(result, lists.summary())
    sys.exit(FATAL if result.differences else 0)


def _print(result: "Result", compared: str) -> None:
    for difference in result.differences:
        click.echo(f"{difference.kind:<17}  {difference.topic}  {difference.text}")
    for acceptance in result.unneeded:
        click.echo(f"accepted without need: {acceptance}")
    number = len(result.differences)
    accepted = f", {len(result.accepted)} accepted" if result.accepted else ""
    click.echo(f"{number or 'no'} difference{'s' * (number != 1)}{accepted}: {compared}")
