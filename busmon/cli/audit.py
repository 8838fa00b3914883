"""`busmon gaps` and `busmon trace`.

They read the ledger, also while the service writes it, or have the service do it.
"""

import time
from pathlib import Path
from typing import Literal

import click
from click.core import ParameterSource

from busmon.cli.ask import answer, asks_ledger, finish, open_ledger
from busmon.cli.times import past_time


@click.group(invoke_without_command=True)
@click.pass_context
@asks_ledger
@click.option(
    "--since",
    callback=past_time,
    metavar="TIME",
    help="Only windows that ended since then.  [default: all]",
)
@click.option("--bus", metavar="NAME", help="Only this bus.")
@click.option("--topic", metavar="TOPIC", help="Only this topic.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "ids"]),
    default="table",
    show_default=True,
    help="Output format; ids prints only the ids of the messages that can be consumed again, "
    "one a line.",
)
@click.option(
    "--unconfirmed",
    is_flag=True,
    help="Also list the messages of times without data, which may be missing or not.",
)
@click.option(
    "--all",
    "ended",
    is_flag=True,
    help="Also list the gaps that have ended: recovered, accepted or expired.",
)
def gaps(
    context: click.Context,
    path: Path | None,
    ledger: str | None,
    url: str | None,
    since: float | None,
    bus: str | None,
    topic: str | None,
    form: Literal["table", "json", "ids"],
    unconfirmed: bool,
    ended: bool,
) -> None:
    """List the messages that are still missing, and where.

    A message is missing at a stage if it should have reached the stage and did not. This gap is
    open until the message reaches the stage, or a person accepts the gap; after 13 months it
    expires. For each window, stage and topic the ids of the missing messages are printed, each
    with the command that makes the listener consume it again. The command takes the message from
    Datagrepper, Fedora's archive; no archive has the messages of MQTT and STOMP.

    All times are in UTC. TIME is one that is printed here, "2026-03-01 14:05:00", or how long ago
    that was: 90m, 24h, 7d. What is listed is in order of time.

    There is no data of a time in which busmon or an observer did not watch all the time. Such a
    time is no gap, but absence of data proves nothing. So the list has the number of its
    messages that are not confirmed, as long as the ledger keeps them; with --unconfirmed also
    their ids. Without --since, times in which busmon did not receive are listed for the last day.

    The service can run meanwhile. With --ledger no configuration is needed; then every id that
    is a UUID is taken for one of Fedora's bus. With a configuration the commands name the file
    in the bus's `config`. Run them where the listener is installed.

    With --url the service lists them, up to 4,000 messages.

    Exit status: 0 no gap is open, 1 there are open gaps, 2 the command line or the configuration
    is wrong, the ledger cannot be read, it knows no such bus or topic, or the service does not
    answer.
    """
    if command := context.invoked_subcommand:
        _refuse_options(context, command)
        return
    from busmon.commands.questions import Gaps

    answer(Gaps(since, bus, topic, form, unconfirmed, ended), path, ledger, url)


def _refuse_options(context: click.Context, command: str) -> None:
    """Refuse options of the list before the name of a command, which would ignore them."""
    sources = map(context.get_parameter_source, context.params)
    if ParameterSource.COMMANDLINE in sources:
        raise click.UsageError(f"give the options after `{command}`")


@click.command()
@click.argument("message_id", metavar="ID")
@asks_ledger
@click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON array, one object for each bus."
)
@click.option(
    "--no-archive",
    "ask",
    flag_value=False,
    default=True,
    help="Do not look in the archive for a message that busmon did not receive.",
)
def trace(
    message_id: str,
    path: Path | None,
    ledger: str | None,
    url: str | None,
    as_json: bool,
    ask: bool,
) -> None:
    """Show everything that is known of one message.

    ID is that of the message, or that of one of its tasks.

    Shows when and on which bus busmon received it, and how long after it was sent; how the rules
    judged it and why; what the listener did with it, and as which task, or that no listener
    ran; what became of the task and of those that it sent, the handlers; and whether the message
    was missing. All times are in UTC.

    If busmon did not receive it, and the configuration has [archive], it is looked up there,
    which takes 10 seconds at most: its topic, when it was sent, and how the rules judge it now.
    Only an id that is a UUID can be looked up. No body is shown.

    With --ledger no configuration is needed; then it is not known what becomes of the listener's
    queue when the listener ends, and no archive is asked. Nor is one with --url: the service
    looks only in its ledger.

    Exit status: 0 the message is on record, 1 it is not (also if the archive has it), 2 the
    command line or the configuration is wrong, the ledger cannot be read, or the service does not
    answer.
    """
    from busmon.commands.questions import Trace
    from busmon.commands.trace import is_received
    from busmon.commands.trace_archive import ask_archive

    question = Trace(message_id, "json" if as_json else "table")
    if url:
        answer(question, path, ledger, url)
    with open_ledger(path, ledger) as (tables, config):
        known = question.look_up(tables, config, time.time())
    ask = ask and not is_received(known.found)
    archived = ask_archive(config, known.id) if ask else None
    if as_json and isinstance(archived, str):
        click.echo(f"busmon: archive: {archived}", err=True)
    finish(question.show(known, archived))
