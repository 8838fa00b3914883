"""`busmon gaps accept`, `busmon gaps reopen` and `busmon gaps accepted`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from busmon.cli.ask import answer, asks_ledger
from busmon.cli.common import FATAL, Number, fail, not_empty
from busmon.cli.operator import asks_as_operator, changing, endpoint_of_operator
from busmon.cli.times import time_or_age, window_start
from busmon.message import GapStage

if TYPE_CHECKING:
    from busmon.commands.acceptances import Done

ACCEPTED = "see `busmon gaps accepted` for what it did"


@click.command()
@asks_as_operator
@click.option("--window", metavar="TIME", callback=window_start, help="The window that began then.")
@click.option(
    "--since", metavar="TIME", callback=time_or_age, help="The windows that began since then."
)
@click.option(
    "--until",
    metavar="TIME",
    callback=time_or_age,
    help="With --since: those that began before this time.  [default: now]",
)
@click.option("--bus", metavar="NAME", help="Only this bus.")
@click.option("--topic", metavar="TOPIC", help="Only this topic.")
@click.option("--stage", type=click.Choice(get_args(GapStage)), help="Only this stage.")
@click.option(
    "--reason",
    metavar="TEXT",
    required=True,
    callback=not_empty,
    help="Why it is fine that they are lost; one line.",
)
def accept(
    path: Path | None,
    url: str | None,
    operator: str | None,
    reason: str,
    window: float | None,
    since: float | None,
    until: float | None,
    bus: str | None,
    topic: str | None,
    stage: str | None,
) -> None:
    """Accept that messages are missing: their gaps are no longer open.

    Messages of the selected windows that are missing or unconfirmed now are accepted; what
    becomes missing later is open again. Nothing is deleted. The time, the reason and the name of
    the operator are kept: `busmon gaps accepted` lists them, `busmon gaps reopen` takes one back.

    TIME is in UTC, as `busmon gaps` prints it ("2026-03-01 14:05:00"), or how long ago that was:
    90m, 24h, 7d. The running service does it. Its configuration needs an operator, a login in
    [web.operators].

    Exit status: 0 they are accepted, 1 no open gap matches, or the service does not answer or
    refuses, 2 wrong command line or configuration.
    """
    from busmon.commands import acceptances

    since, until = _times(window, since, until)
    selection = {"since": since, "until": until, "bus": bus, "topic": topic, "stage": stage}
    endpoint = endpoint_of_operator(path, url, operator)
    with changing(endpoint, ACCEPTED):
        done = acceptances.accept(endpoint, selection, reason)
    if done.number is None:
        fail(FATAL, "no open gap matches; nothing is accepted")
    click.echo(f"acceptance {done.number}: {_progress(done, 'accepted')}")


def _times(window: float | None, since: float | None, until: float | None) -> tuple[float, float]:
    """Return from when on and before when the selected windows began, or exit with 2."""
    if window is not None and since is None and until is None:
        return window, window + 1  # it is printed in whole seconds
    if window is not None or since is None:
        raise click.UsageError("give either --window, or --since and maybe --until")
    until = time.time() if until is None else until
    if since >= until:
        raise click.UsageError("--since should be before --until")
    return since, until


@click.command()
@asks_as_operator
@click.argument("number", type=Number(1), metavar="NUMBER")
def reopen(path: Path | None, url: str | None, operator: str | None, number: int) -> None:
    """Take back an acceptance: what it accepted is open again.

    NUMBER is that of the acceptance: see `busmon gaps accepted`. The running service does it.

    Exit status: 0 they are open again, 1 there is no such acceptance, or it was taken back
    before, or the service does not answer or refuses, 2 wrong command line or configuration.
    """
    from busmon.commands import acceptances

    endpoint = endpoint_of_operator(path, url, operator)
    with changing(endpoint, ACCEPTED):
        done = acceptances.reopen(endpoint, number)
    click.echo(f"acceptance {done.number}: {_progress(done, 'open again')}")


@click.command()
@asks_ledger
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def accepted(path: Path | None, ledger: str | None, url: str | None, as_json: bool) -> None:
    """List what was accepted: when, by whom and why.

    The newest is first. All times are in UTC. Acceptances are kept for 13 months.

    Exit status: 0, or 2 if the command line or the configuration is wrong, the ledger cannot be
    read, or the service does not answer.
    """
    from busmon.commands.questions import Accepted

    answer(Accepted("json" if as_json else "table"), path, ledger, url)


def _progress(done: "Done", what: str) -> str:
    if not done.finished:
        return "it takes longer, and goes on; `busmon gaps accepted` shows the result"
    gone = f"; {done.forgotten} more are no longer on record" if done.forgotten else ""
    return f"{done} {what}{gone}"
