"""What the commands share that have the running service change something, as an operator."""

import os
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from busmon.cli.common import CONFIGURATION, FATAL, config_option, fail, find_endpoint, http_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from busmon.commands.endpoint import Endpoint
    from busmon.settings.models import Operator

PASSWORD = "BUSMON_PASSWORD"  # noqa: S105 - the name of a variable
UNCHANGED = "nothing is changed"


def asks_as_operator(command: Callable[..., None]) -> Callable[..., None]:
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
    if given := os.environ.get(PASSWORD):
        return given
    if not sys.stdin.isatty():
        fail(CONFIGURATION, f"the password of {name} is not configured, so set ${PASSWORD}")
    return str(click.prompt(f"Password of {name}", hide_input=True, err=True))


@contextmanager
def changing(endpoint: "Endpoint", if_asked: str) -> "Iterator[None]":
    """Exit with 1 if the service does not answer, or refuses.

    `if_asked` is what to do if it was asked, so that it may have done it.
    """
    from busmon.commands.endpoint import NoAnswer, Refused

    try:
        yield
    except NoAnswer as error:
        effect = if_asked if error.asked else UNCHANGED
        fail(FATAL, f"busmon does not answer at {endpoint.url}: {error}; {effect}")
    except Refused as error:
        fail(FATAL, f"busmon at {endpoint.url} refuses: {error}")
