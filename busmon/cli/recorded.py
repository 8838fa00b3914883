"""The commands that read recorded messages: explain and replay."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from busmon.cli.common import CONFIGURATION, FATAL, fail, fatal, http_url, load_config, set_up_log

if TYPE_CHECKING:
    from busmon.sources.listener_queue import ListenerQueue

Recorded = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)


@click.command()
@click.argument("files", nargs=-1, type=Recorded, metavar="[FILE...|-]")
@click.option(
    "--rules",
    metavar="NAME",
    help="packit, centos, all, or the listener's own code as module:callable, imported from "
    "$PYTHONPATH. Default: packit for messages in Fedora's format, centos for those in CentOS's.",
)
@click.option(
    "--user",
    default="packit",
    show_default=True,
    metavar="NAME",
    help="The listener's Packit user.",
)
@click.option(
    "--project",
    default="packit",
    show_default=True,
    metavar="NAME",
    help="The listener's PROJECT setting.",
)
@click.option(
    "--subtopics",
    default="",
    metavar="NAMES",
    help="The MQTT_SUBTOPICS of the consumer of git.centos.org, with commas between them.",
)
@click.option(
    "--fedora-toml",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The listener's fedora-messaging file. It says what becomes of the listener's queue when "
    "a message kills the listener.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per message.")
def explain(
    files: tuple[Path, ...],
    rules: str | None,
    user: str,
    project: str,
    subtopics: str,
    fedora_toml: Path | None,
    as_json: bool,
) -> None:
    """Show whether the listener handles messages, and why not.

    Each line of a FILE is a JSON object: what `fedora-messaging record` writes, or
    {"topic", "payload"} as on CentOS's bus. Files named .gz are decompressed. Without FILE, or
    with `-`, reads standard input. Prints one line per message: topic, id, outcome, reason; and
    for one that kills the listener what happens then: one death, or a crash loop. Reads no
    configuration of busmon. On staging, give --user packit-stg.

    \b
    handled   the listener passes it on to the workers
    ignored   a filter of the listener drops it; the reason says which one
    unmapped  the listener has no rule for its topic
    invalid   it is rejected before the listener sees it, or the line is not a message
    error     it can crash the listener, or costs too much for busmon to judge it

    \b
    Example:
      fedora-messaging record --limit 10 messages.jsonl
      busmon explain messages.jsonl
    """  # noqa: D301 - click's mark of lines to be kept, and no backslash
    from busmon.cli.files import STDIN, Inputs
    from busmon.commands.explain import as_json as to_json
    from busmon.commands.explain import as_text, explain_files, rule_sets
    from busmon.rules import Rules
    from busmon.settings.models import Log

    set_up_log(Log(level="error"))
    try:
        settings = Rules.model_validate(
            {"packit": {"user": user, "project": project}, "centos": {"subtopics": subtopics}}
        )
        chosen = rule_sets(rules, settings)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--rules") from error
    queue = _listener_queue(fedora_toml)
    inputs = Inputs(files or (STDIN,))
    with fatal(OSError):
        explain_files(inputs, sys.stdout, chosen, to_json if as_json else as_text, queue)
    sys.exit(0 if inputs.complete else FATAL)


def _listener_queue(path: Path | None) -> "ListenerQueue":
    """Return what becomes of the listener's queue, or print why the file is wrong and exit."""
    from busmon.sources.amqp.fedora_toml import UnusableToml, listener_queue
    from busmon.sources.listener_queue import ListenerQueue

    try:
        return listener_queue(path) if path else ListenerQueue.UNKNOWN
    except UnusableToml as error:
        fail(CONFIGURATION, *error.problems)


@click.command()
@click.argument("files", nargs=-1, type=Recorded, required=True, metavar="FILE...")
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Take the names and rules of the buses, and the limits, from this configuration. "
    "Fedora's messages count for its first amqp bus, CentOS's for its first mqtt or stomp bus.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "prometheus"]),
    default="table",
    show_default=True,
    help="How to print the counts.",
)
@click.option(
    "--push",
    metavar="URL",
    help="Also send the counts to this Prometheus Pushgateway. They replace those of an earlier "
    "replay. Their job is busmon-replay, which no alert takes for a running busmon.",
    callback=http_url,
)
def replay(files: tuple[Path, ...], path: Path | None, form: str, push: str | None) -> None:
    """Count recorded messages, and print the counts.

    FILEs are as for `busmon explain`. Messages are counted as by the service, a repeated
    message as a duplicate, but in memory: no ledger is opened. A line that is not a message
    counts as invalid, and standard error names it. If a file cannot be read to its end, the
    other files are still counted, but the exit status is 1 and nothing is pushed.
    """
    from busmon.cli.files import Inputs, complain, progress, size
    from busmon.commands.replay import NotPushed, Replay
    from busmon.config.model import Config
    from busmon.settings.models import Log

    set_up_log(Log(level="error"))
    config = load_config(path) if path else Config.model_construct(buses={})
    counted = Replay(config)
    with fatal(OSError, NotPushed):
        with progress(size(files)) as advance:
            inputs = Inputs(files, advance)
            for place, lines in inputs:
                counted.count(place, lines, complain)
        render = {
            "table": counted.as_table,
            "json": counted.as_json,
            "prometheus": counted.as_prometheus,
        }
        click.echo(render[form]().rstrip())
        if not inputs.complete:
            sys.exit(FATAL)
        if push:
            counted.push(push)
