"""`busmon gaps accept`, `busmon gaps reopen` and `busmon gaps accepted`."""

import os
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from busmon.cli.ask import answer, asks_ledger
from busmon.cli.audit import seconds_of
from busmon.cli.common import CONFIGURATION, FATAL, config_option, fail, find_endpoint, http_url
from busmon.message import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from busmon.commands.acceptances import Done
    from busmon.commands.endpoint import Endpoint
    from busmon.settings.models import Operator

PASSWORD = "BUSMON_PASSWORD"  # noqa: S105 - the name of a variable
STAGES = [stage.value for stage in Stage if stage is not Stage.BUS]  # at which a message is open
UNCHANGED = "nothing is changed"
ACCEPTED = "see `busmon gaps accepted` for what it did"
EXAMPLE = '"2026-03-01 14:05:00"'
WINDOW = f"should be the time at which a window began, as `busmon gaps` prints it: {EXAMPLE}"
TIME = f"should be a time in UTC, {EXAMPLE}, or how long ago that was: 90m, 24h, 7d"


def _moment(text: str) -> float:
    """Return a time as `busmon gaps` prints it in Unix time; ValueError if it is none."""
    from busmon.settings.units import parse_moment

    unix = parse_moment(text.strip())
    if unix < 0:
        raise ValueError("before 1970")
    return unix


def _window(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    with suppress(ValueError):
        return None if text is None else _moment(text)
    raise click.BadParameter(WINDOW)


def _time(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    with suppress(ValueError):
        return time.time() - seconds_of(text)
    with suppress(ValueError):
        return _moment(text)
    raise click.BadParameter(TIME)


def asks_service(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say where the service is, and who asks it."""
    options = (
        config_option,
        click.option(
            "--url",
            metavar="URL",
            callback=http_url,
            help="Where the service is, instead of the configured [web] listen.",
        ),
        click.option(
            "--operator",
            metavar="NAME",
            help="Whose login in [web.operators] is used. Needed if there are several, or with"
            f" --url without -c. A password that is not configured is taken from ${PASSWORD}, or"
            " asked for.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@asks_service
@click.option("--window", metavar="TIME", callback=_window, help="The window that began then.")
@click.option("--since", metavar="TIME", callback=_time, help="The windows that began since then.")
@click.option(
    "--until",
    metavar="TIME",
    callback=_time,
    help="With --since: those that began before this time.  [default: now]",
)
@click.option("--bus", metavar="NAME", help="Only this bus.")
@click.option("--topic", metavar="TOPIC", help="Only this topic.")
@click.option("--stage", type=click.Choice(STAGES), help="Only this stage.")
@click.option(
    "--reason", metavar="TEXT", required=True, help="Why it is fine that they are lost; one line."
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
    with service(endpoint, ACCEPTED):
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
@asks_service
@click.argument("number", type=click.IntRange(min=1), metavar="NUMBER")
def reopen(path: Path | None, url: str | None, operator: str | None, number: int) -> None:
    """Take back an acceptance: what it accepted is open again.

    NUMBER is that of the acceptance: see `busmon gaps accepted`. The running service does it.

    Exit status: 0 they are open again, 1 there is no such acceptance, or it was taken back
    before, or the service does not answer or refuses, 2 wrong command line or configuration.
    """
    from busmon.commands import acceptances

    endpoint = endpoint_of_operator(path, url, operator)
    with service(endpoint, ACCEPTED):
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


def endpoint_of_operator(path: Path | None, url: str | None, operator: str | None) -> "Endpoint":
    """Return where the service is, with the login of an operator, or exit with 2."""
    from busmon.commands.acceptances import operated_by

    endpoint, web = find_endpoint(path, url)
    name = operator or _only(web.operators)
    return operated_by(endpoint, name, _password(name, web.operators))


def _only(known: "Mapping[str, Operator]") -> str:
    """Return the only operator, or exit with 2."""
    if not known:
        where = "configure a login in [web.operators.NAME], or give --operator"
        fail(CONFIGURATION, f"no operator is known: {where}")
    if len(known) > 1:
        fail(CONFIGURATION, f"there are several operators, so give --operator: {', '.join(known)}")
    return next(iter(known))


def _password(name: str, known: "Mapping[str, Operator]") -> str:
    if name in known:
        return known[name].password.get_secret_value()
    given = os.environ.get(PASSWORD)
    return given or str(click.prompt(f"Password of {name}", hide_input=True, err=True))


@contextmanager
def service(endpoint: "Endpoint", asked: str) -> "Iterator[None]":
    """Exit with 1 if the service does not answer, or refuses.

    `asked` is what to do if it was asked, so that it may have done it.
    """
    from busmon.commands.endpoint import NoAnswer, Refused

    try:
        yield
    except NoAnswer as error:
        effect = asked if error.asked else UNCHANGED
        fail(FATAL, f"busmon does not answer at {endpoint.url}: {error}; {effect}")
    except Refused as error:
        fail(FATAL, f"busmon at {endpoint.url} refuses: {error}")
