"""`busmon learn`: it writes to the ledger while the service does not run."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from busmon.cli.ask import ledger_option, open_ledger
from busmon.cli.common import (
    CONFIGURATION,
    FATAL,
    Number,
    config_option,
    fail,
    load_config,
    set_up_log,
)
from busmon.signals import stopping_on_signals

if TYPE_CHECKING:
    from threading import Event

    from busmon.config.model import Config
    from busmon.settings.archive import Archive
    from busmon.settings.postgresql import Database

STEPS = 1000  # of the progress bar


@click.command()
@config_option
@ledger_option
@click.option(
    "--weeks",
    type=Number(1, 52),
    default=8,
    show_default=True,
    metavar="N",
    help="How many weeks to learn, before the first start of busmon with [archive].",
)
def learn(path: Path | None, ledger: str | None, weeks: int) -> None:
    """Learn from the archive what is usual for each topic.

    The archive is the Datagrepper in [archive]. busmon asks it how many messages of each topic
    came in each hour, the newest weeks first. So it need not run for four weeks before it finds
    that a topic is silent. It sends one request a second at most; 8 weeks of 15 topics take about
    2.4 hours. You can interrupt it; the next time it will go on from there.

    The service does the same by itself. While it runs, this only says how far it is.

    Exit status: 0 all is learned, or the service learns, 1 it was interrupted, or the ledger
    cannot be opened, 2 the command line or the configuration is wrong, or has no [archive].
    """
    stopping = stopping_on_signals()
    config = load_config(path)
    if config.archive is None:
        fail(CONFIGURATION, "archive: is missing: [archive] names the archive to learn from")
    from busmon.ledger.errors import LedgerError, LedgerInUseError

    set_up_log(config.log)
    place = ledger or config.ledger.place()
    if place == ":memory:":
        fail(CONFIGURATION, "ledger.path: is in memory, so that nothing learned would be kept")
    try:
        finished = _learn(config, config.archive, place, weeks, stopping)
    except LedgerInUseError:
        _say_how_far(place, config.archive)
        return
    except LedgerError as error:
        fail(FATAL, str(error))
    if not finished:
        fail(FATAL, "interrupted; the next time it goes on from there")


def _learn(
    config: "Config", archive: "Archive", place: "str | Database", weeks: int, stopping: "Event"
) -> bool:
    """Return whether all is learned."""
    from busmon.cli.files import progress
    from busmon.commands import learn

    shown = 0

    def show(known: int, hours: int) -> None:
        nonlocal shown
        steps = STEPS * known // hours if hours else STEPS
        advance(steps - shown)
        shown = steps

    with (
        learn.opened(config, archive, place, weeks) as (worker, learner),
        progress(STEPS, "Learning") as advance,
    ):
        return learn.run(worker, learner, stopping, show)


def _say_how_far(place: "str | Database", archive: "Archive") -> None:
    from busmon.commands import learn

    with open_ledger(None, place) as (tables, _):
        share = learn.share_of_service(tables, archive)
    click.echo(f"the service learns, and has learned {share:.0%}")
