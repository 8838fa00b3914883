"""The command line. Each command imports what it needs, so that `--help` is quick."""

import math
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import cast

import click

from busmon import __version__
from busmon.cli.acceptances import accept, accepted, reopen
from busmon.cli.audit import gaps, trace
from busmon.cli.common import config_option, fatal, ledger_path, load_config, set_up_log
from busmon.cli.find import find
from busmon.cli.forget import forget
from busmon.cli.incidents import incidents
from busmon.cli.learn import learn
from busmon.cli.ledger import ledger as ledger_group
from busmon.cli.lint import lint
from busmon.cli.recorded import explain, replay
from busmon.cli.status import status
from busmon.signals import stopping_on_signals
from busmon.text import parse_address


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def main() -> None:
    """Count every message of a message bus, by topic and by whether its listener handles it.

    \b
    Look around:            busmon demo
    Check a configuration:  busmon check-config -c FILE
    Use it:                 busmon run -c FILE

    \b
    Exit status:
      0  success
      1  an error; or status, gaps or lint found something, or trace or find nothing: see --help
      2  wrong command line or configuration, or a ledger or list that cannot be read
    """  # noqa: D301 - click's mark of lines to be kept, and no backslash
    # A topic may contain characters that the terminal cannot show; a pipe gets each line at once.
    output = cast(TextIOWrapper | None, sys.stdout)
    if output:
        output.reconfigure(errors="backslashreplace", line_buffering=True)


def _address(_context: click.Context, _option: click.Parameter, text: str) -> str:
    try:
        parse_address(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return text


def _finite(_context: click.Context, _option: click.Parameter, number: float) -> float:
    if not math.isfinite(number):
        raise click.BadParameter("should be a number")
    return number


@main.command()
@config_option
@click.option(
    "--ledger",
    metavar="PATH",
    callback=ledger_path,
    help="Use the ledger in this file instead of the configured one. `:memory:` needs no disk, but "
    "all counts are lost at the end, and messages that are redelivered after it count twice.",
)
def run(path: Path | None, ledger: str | None) -> None:
    """Run the service: receive, count, serve /metrics.

    If a bus is down, busmon tries to connect until it succeeds; /ready says which bus is down
    and why. It also waits for the server of a ledger in PostgreSQL.

    SIGTERM, SIGINT and SIGHUP stop the service: it receives no more messages, records and
    acknowledges those it has received, and exits with status 0 within 5 seconds. Settings are
    read only at the start.

    The environment overrides the configuration. The name of a variable has two underscores
    between the keys: BUSMON__WEB__LISTEN, BUSMON__BUSES__CENTOS__PASSWORD.
    """
    stopping = stopping_on_signals()
    config = load_config(path)
    if ledger is not None:
        with_path = config.ledger.model_copy(update={"path": ledger, "url": None})
        config = config.model_copy(update={"ledger": with_path})
    set_up_log(config.log)
    from busmon.follower import run as run_with_others
    from busmon.ledger.errors import LedgerError
    from busmon.ledger.ledger import Ledger
    from busmon.sentry import reporting
    from busmon.service import open_service
    from busmon.settings.postgresql import Database
    from busmon.threads import ThreadDied
    from busmon.web.server import WebServer

    with fatal(LedgerError, OSError, ThreadDied), reporting(config.sentry, config.buses):
        place = config.ledger.place()
        if isinstance(place, Database):
            run_with_others(config, stopping)
        else:
            opened = Ledger(place, config.ledger.size_limit)
            open_service(config, opened, WebServer(config.web)).run(stopping)


@main.command("check-config")
@config_option
def check_config(path: Path | None) -> None:
    """Check a configuration, and show what it would do.

    Prints every problem at once, each with its place, and exits with status 2; or prints what
    busmon would watch and serve. Includes the settings of the environment, as `busmon run`
    does. Connects to nothing, and prints no secret.
    """
    from busmon.config.describe import describe

    click.echo(describe(load_config(path)))


@main.command()
@click.option(
    "--listen",
    default="127.0.0.1:12876",
    show_default=True,
    metavar="HOST:PORT",
    callback=_address,
    help="The address to serve at; with port 0 the system chooses a free port.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=0.05,
    show_default=True,
    metavar="N",
    callback=_finite,
    help="Messages per second, both buses together. With more, more than usual comes.",
)
@click.option("--empty", is_flag=True, help="Begin without a history.")
def demo(listen: str, rate: float, empty: bool) -> None:
    """Show busmon at work on made-up traffic.

    Needs no broker, no configuration and no root. Messages like those of Fedora's and CentOS's
    buses, with every outcome, go through the real code into a temporary ledger. It begins with
    four weeks of history, in which some things went wrong. Prints what to look at, and runs until
    interrupted.
    """
    stopping = stopping_on_signals()
    from busmon.demo import demo
    from busmon.ledger.errors import LedgerError
    from busmon.settings.models import Log
    from busmon.threads import ThreadDied

    set_up_log(Log(level="error"))
    with fatal(LedgerError, OSError, ThreadDied):
        demo.run(listen, rate, stopping, click.echo, empty=empty)


for command in (
    *(explain, replay, status, find, forget, gaps, incidents, trace, lint, learn),
    ledger_group,
):
    main.add_command(command)
for command in (accept, reopen, accepted):
    gaps.add_command(command)
