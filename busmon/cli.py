"""The command line. Each command imports what it needs, so that `--help` is quick."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn, cast

import click

if TYPE_CHECKING:
    from busmon.settings import Config, Log
    from busmon.sources.recorded import Line

FATAL = 1  # exit statuses
CONFIGURATION = 2

config_option = click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration; else $BUSMON_CONFIG, else /etc/busmon/busmon.toml.",
)
Recorded = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="busmon")
def main() -> None:
    """Count every message of a message bus, and by whether its listener handles it.

    To look around: `busmon demo`. To run it: write a configuration, try it with
    `busmon check-config -c FILE`, then `busmon run -c FILE`.

    Exit status: 0 well, 2 the command line or the configuration is wrong, 1 anything else.
    """


@main.command()
@config_option
@click.option(
    "--ledger",
    metavar="PATH",
    help="Instead of the configured [ledger] path. `:memory:` needs no disk, but forgets all "
    "counts when it ends, and may count twice what comes again then.",
)
def run(path: Path | None, ledger: str | None) -> None:
    """Run the service: receive from every bus, count, serve /metrics.

    SIGTERM and SIGINT end it: it takes nothing more, records and acknowledges what it
    has in hand, and exits with 0 within 5 seconds.
    """
    stopping = _stopping_on_signals()
    config = _load(path)
    if ledger is not None:
        with_path = config.ledger.model_copy(update={"path": ledger})
        config = config.model_copy(update={"ledger": with_path})
    _log(config.log)
    from busmon.service import SourceDied, open_service
    from busmon.storage import LedgerError

    with _fatal(LedgerError, OSError, SourceDied):
        open_service(config).run(stopping)


@main.command("check-config")
@config_option
def check_config(path: Path | None) -> None:
    """Check a configuration: name every problem with its place, or say what would be done.

    Connects to nothing, and prints no secret.
    """
    from busmon.describe import describe

    click.echo(describe(_load(path)))


@main.command()
@click.argument("files", nargs=-1, type=Recorded, metavar="[FILE...|-]")
@click.option(
    "--rules", metavar="NAME", help="packit, centos, all or module:callable; else by the format."
)
@click.option("--user", default="packit", show_default=True, help="The listener's Packit user.")
@click.option("--project", default="packit", show_default=True, help="The listener's PROJECT.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each message.")
def explain(
    files: tuple[Path, ...], rules: str | None, user: str, project: str, as_json: bool
) -> None:
    """Tell whether the listener would handle each recorded message, and if not, why.

    FILEs hold a JSON object a line: what `fedora-messaging record` writes, or
    {"topic", "payload"} as on CentOS's bus; without any, or for `-`, standard input does.
    Prints a line for each message: topic, id, outcome, reason.
    """
    from busmon.explain import as_json as to_json
    from busmon.explain import as_text, books, explain_files
    from busmon.settings import Log, PackitRules, Rules

    _log(Log(level="error"))
    try:
        book_for = books(rules, Rules(packit=PackitRules(user=user, project=project)))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--rules") from error
    opened = ((str(file), _open(file)) for file in files or (Path("-"),))
    explain_files(opened, sys.stdout, book_for, to_json if as_json else as_text)


@main.command()
@click.argument("files", nargs=-1, type=Recorded, required=True, metavar="FILE...")
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Take the names of the buses, their rules and limits from this configuration.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "prometheus"]),
    default="table",
    show_default=True,
)
@click.option("--push", metavar="URL", help="Send the counts to this Prometheus Pushgateway, too.")
def replay(files: tuple[Path, ...], path: Path | None, form: str, push: str | None) -> None:
    """Count recorded messages as the service would, and print the counts.

    FILEs are as for `busmon explain`. A line that is no message is counted as invalid and
    named on standard error; the rest goes on. No ledger is touched.
    """
    from busmon.replay import Buses, Replay, buses_of
    from busmon.settings import Config, Log

    _log(Log(level="error"))
    config = _load(path) if path else Config.model_construct(buses={})
    counted = Replay(config, buses_of(config) if path else Buses())
    size = sum(file.stat().st_size for file in files if file != Path("-"))
    with click.progressbar(
        length=size,
        label="Counting",
        file=sys.stderr,
        hidden=not sys.stderr.isatty(),
        update_min_steps=size // 1000,
    ) as bar:
        for file in files:
            counted.count(str(file), _shown(_open(file), bar.update), _complain)
    render = {
        "table": counted.as_table,
        "json": counted.as_json,
        "prometheus": counted.as_prometheus,
    }
    click.echo(render[form]().rstrip())
    if push:
        with _fatal(OSError, what="can't push: "):
            counted.push(push)


@main.command()
@click.option(
    "--listen",
    default="127.0.0.1:9810",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to serve; port 0 takes a free one.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=20.0,
    show_default=True,
    help="Messages a second, on both buses together.",
)
def demo(listen: str, rate: float) -> None:
    """Show busmon at work on made-up traffic: no broker, no configuration, no root.

    Messages of Fedora's and CentOS's bus, all outcomes among them, go through the real
    path into a temporary ledger. Serves until interrupted.
    """
    stopping = _stopping_on_signals()
    from busmon import demo
    from busmon.settings import Log, host_port

    _log(Log(level="warning"))
    try:
        host_port(listen)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--listen") from error
    with _fatal(OSError):
        demo.run(listen, rate, stopping, lambda url: click.echo(f"{url}/metrics (Ctrl-C ends it)"))


def _load(path: Path | None) -> "Config":
    """Return the configuration, or print every problem and exit with 2."""
    from busmon.config import ConfigError, load

    try:
        return load(path, os.environ)
    except ConfigError as error:
        _fail(CONFIGURATION, *error.problems)


def _fail(status: int, *lines: str) -> NoReturn:
    for line in lines:
        click.echo(f"busmon: {line}", err=True)
    sys.exit(status)


@contextmanager
def _fatal(*errors: type[Exception], what: str = "") -> Iterator[None]:
    try:
        yield
    except errors as error:
        _fail(FATAL, f"{what}{error}")


def _log(settings: "Log") -> None:
    from busmon import logs

    logs.setup(settings)


def _stopping_on_signals() -> threading.Event:
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    return stopping


def _open(file: Path) -> BinaryIO:
    from busmon.sources.recorded import open_file

    return cast(BinaryIO, sys.stdin.buffer) if file == Path("-") else open_file(file)


def _shown(file: BinaryIO, update: Callable[[int], None]) -> Iterator[bytes]:
    for line in file:
        yield line
        update(len(line))


def _complain(line: "Line") -> None:
    reason = line.message.rejected.reason if line.message.rejected else ""
    click.echo(f"{line.place}:{line.number}: {reason}", err=True)
