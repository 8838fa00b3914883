"""The command line. Each command imports what it needs, so that `--help` is quick."""

import math
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import cast

import click

from busmon import __version__
from busmon.cli.audit import gaps, trace
from busmon.cli.common import FATAL, config_option, fatal, http_url, load_config, set_up_log
from busmon.cli.lint import lint
from busmon.cli.status import status
from busmon.signals import stopping_on_signals

Recorded = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def main() -> None:
    """Count every message of a message bus, and by whether its listener handles it.

    To look around: `busmon demo`. To run it: write a configuration, try it with
    `busmon check-config -c FILE`, then `busmon run -c FILE`.

    Exit status: 0 well, 2 the command line or the configuration is wrong, 1 anything else.
    """
    # Topics may hold what the terminal's character set lacks, and a pipe may want each
    # line as it comes.
    output = cast(TextIOWrapper | None, sys.stdout)
    if output:
        output.reconfigure(errors="backslashreplace", line_buffering=True)


@main.command()
@config_option
@click.option(
    "--ledger",
    metavar="PATH",
    help="Instead of the configured [ledger] path. `:memory:` needs no disk, but forgets all "
    "counts when it ends, and may count twice what comes again then.",
)
def run(path: Path | None, ledger: str | None) -> None:
    """Run the service: receive, count, serve /metrics.

    A bus that is down is tried again until it is there; /ready says which and why.

    SIGTERM, SIGINT and SIGHUP end the service: it takes nothing more, records and
    acknowledges what it has in hand, and exits with 0 within 5 seconds. Settings are read
    at the start only.

    Any setting may come from the environment instead, with two underscores between its
    keys: BUSMON__WEB__LISTEN, BUSMON__BUSES__CENTOS__PASSWORD.
    """
    if ledger == "":  # SQLite would take it for a temporary file
        raise click.BadParameter("should not be empty", param_hint="--ledger")
    stopping = stopping_on_signals()
    config = load_config(path)
    if ledger is not None:
        with_path = config.ledger.model_copy(update={"path": ledger})
        config = config.model_copy(update={"ledger": with_path})
    set_up_log(config.log)
    from busmon.ledger.sqlite import LedgerError
    from busmon.service import open_service
    from busmon.threads import ThreadDied

    with fatal(LedgerError, OSError, ThreadDied):
        open_service(config).run(stopping)


@main.command("check-config")
@config_option
def check_config(path: Path | None) -> None:
    """Check a configuration, and say what it would do.

    Names every problem at once, each with its place, and exits with 2; or prints what
    would be watched and served. Takes the settings in the environment into account as
    `busmon run` does. Connects to nothing, and prints no secret.
    """
    from busmon.config.describe import describe

    click.echo(describe(load_config(path)))


@main.command()
@click.argument("files", nargs=-1, type=Recorded, metavar="[FILE...|-]")
@click.option(
    "--rules",
    metavar="NAME",
    help="packit, centos, all, or a listener's own module:callable, found by $PYTHONPATH. "
    "Without it, the format of a message decides: packit for Fedora's, centos for CentOS's.",
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
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each message.")
def explain(
    files: tuple[Path, ...], rules: str | None, user: str, project: str, as_json: bool
) -> None:
    """Tell if and why not the listener handles a message.

    FILEs hold a JSON object a line: what `fedora-messaging record` writes, or
    {"topic", "payload"} as on CentOS's bus; those named .gz are unpacked. Without any,
    or for `-`, standard input is read. Prints a line for each message: its topic, id,
    outcome and reason.

    \b
    handled   the listener passes it on to the worker
    ignored   the listener's filter drops it; the reason says which
    unmapped  the listener has no rule for its topic
    invalid   rejected before the listener sees it, or a line that is no message
    error     it can kill the listener

    \b
    Example:
      fedora-messaging record --limit 10 messages.jsonl
      busmon explain messages.jsonl
    """  # noqa: D301 - click's mark of lines to be kept, and no backslash
    from busmon.cli.files import STDIN, Inputs
    from busmon.commands.explain import as_json as to_json
    from busmon.commands.explain import as_text, books, explain_files
    from busmon.rules import Rules
    from busmon.rules.packit import PackitRules
    from busmon.settings.models import Log

    set_up_log(Log(level="error"))
    try:
        book_for = books(rules, Rules(packit=PackitRules(user=user, project=project)))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--rules") from error
    inputs = Inputs(files or (STDIN,))
    with fatal(OSError):
        explain_files(inputs, sys.stdout, book_for, to_json if as_json else as_text)
    sys.exit(0 if inputs.complete else FATAL)


@main.command()
@click.argument("files", nargs=-1, type=Recorded, required=True, metavar="FILE...")
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Take the names and rules of the buses, and the limits, from this configuration: its "
    "first amqp bus is that of Fedora's messages, its first mqtt or stomp bus of CentOS's.",
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
    help="Send the counts to this Prometheus Pushgateway, too, in place of what it has of an "
    "earlier replay (job busmon-replay).",
    callback=http_url,
)
def replay(files: tuple[Path, ...], path: Path | None, form: str, push: str | None) -> None:
    """Count recorded messages, and print the counts.

    FILEs are as for `busmon explain`. They are counted as the service would, a message
    that comes twice as a duplicate, but in memory: no ledger is touched. A line that is no
    message is counted as invalid and named on standard error; the rest goes on. So it
    does after a file that can't be read to its end, but then the exit status is 1, and
    nothing is pushed.
    """
    from busmon.cli.files import Inputs, complain, progress, size
    from busmon.commands.replay import Buses, NotPushed, Replay, buses_of
    from busmon.config.model import Config
    from busmon.settings.models import Log

    set_up_log(Log(level="error"))
    config = load_config(path) if path else Config.model_construct(buses={})
    counted = Replay(config, buses_of(config) if path else Buses())
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


@main.command()
@click.option(
    "--listen",
    default="127.0.0.1:12876",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to serve; port 0 takes a free one.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=20.0,
    show_default=True,
    metavar="N",
    help="Messages a second, on both buses together.",
)
def demo(listen: str, rate: float) -> None:
    """Show busmon at work on made-up traffic.

    Needs no broker, no configuration and no root. Messages as on Fedora's and CentOS's
    bus, all outcomes among them, go through the real path into a temporary ledger.
    Prints the URL at which it serves the counts, and goes on until interrupted.
    """
    stopping = stopping_on_signals()
    from busmon.demo import demo
    from busmon.ledger.sqlite import LedgerError
    from busmon.settings.models import Log
    from busmon.text import parse_address
    from busmon.threads import ThreadDied

    set_up_log(Log(level="warning"))
    if not math.isfinite(rate):
        raise click.BadParameter("should be a number", param_hint="--rate")
    try:
        parse_address(listen)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--listen") from error
    with fatal(LedgerError, OSError, ThreadDied):
        demo.run(listen, rate, stopping, lambda url: click.echo(f"{url}/metrics (Ctrl-C ends it)"))


main.add_command(lint)
main.add_command(status)
main.add_command(gaps)
main.add_command(trace)
