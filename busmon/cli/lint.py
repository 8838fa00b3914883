"""`busmon lint`."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from busmon.cli.common import CONFIGURATION, FATAL, config_option, fail, load_config

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
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def lint(
    path: Path | None,
    fedora_toml: Path | None,
    listener_source: Path | None,
    worker_source: Path | None,
    as_json: bool,
) -> None:
    """Compare the lists of topics that are maintained by hand.

    Compares busmon's rules for Packit with the listener's bindings, the listener's callbacks
    and the worker's parsers. The code is only read, never run. Prints one line per topic on
    which two lists disagree.

    \b
    bound-not-mapped   the listener receives it, but no rule knows it
    mapped-not-bound   a rule knows it, but the listener does not receive it
    listener-only      the listener has a callback, but busmon has no rule
    busmon-only        busmon has a rule, but the listener has no callback
    passed-not-parsed  the listener passes it on, but the worker has no parser

    Exit status: 0 the lists agree, 1 they do not, 2 one of them cannot be read.
    """  # noqa: D301 - click's mark of lines to be kept, and no backslash
    from busmon.commands.lint import LintError, Lists, bindings_of, bound_by, mapped_by, parsed_by
    from busmon.commands.lint import lint as compare

    try:
        lists = Lists(
            {str(fedora_toml): bound_by(fedora_toml)}
            if fedora_toml
            else bindings_of(load_config(path)),
            mapped_by(listener_source) if listener_source else None,
            parsed_by(worker_source) if worker_source else None,
        )
    except LintError as error:
        fail(CONFIGURATION, str(error))
    drifts = compare(lists)
    if as_json:
        answer = {"compared": lists.summary(), "drifts": [asdict(drift) for drift in drifts]}
        click.echo(json.dumps(answer, indent=2))
    else:
        for drift in drifts:
            click.echo(f"{drift.kind:<17}  {drift.topic}  {drift.text}")
        click.echo(f"{len(drifts) or 'no'} drift{'s' * (len(drifts) != 1)}: {lists.summary()}")
    sys.exit(FATAL if drifts else 0)
