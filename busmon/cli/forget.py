"""`busmon forget`."""

from pathlib import Path

import click

from busmon.cli.common import not_empty
from busmon.cli.operator import asks_as_operator, changing, endpoint_of_operator
from busmon.text import format_number


@click.command()
@asks_as_operator
@click.option(
    "--owner", metavar="NAME", required=True, callback=not_empty, help="Whose name is forgotten."
)
def forget(path: Path | None, url: str | None, operator: str | None, owner: str) -> None:
    """Take an owner's name out of the keys of all messages.

    Names are kept only if `subjects` in [ledger] lists `owner`: take it out of there first, or
    new messages bring the name back. The messages stay, and stay counted. The running service
    does it, and overwrites the name in the file of its ledger. A database overwrites it some time
    after its next vacuum. Backups still have it. The service's configuration needs an operator, a
    login in [web.operators].

    Exit status: 0 the name is forgotten, or was not there, 1 the service does not answer or
    refuses, 2 wrong command line or configuration.
    """
    from busmon.commands.forget import forget

    endpoint = endpoint_of_operator(path, url, operator)
    with changing(endpoint, "ask again"):
        sets = forget(endpoint, owner)
    click.echo(f"forgotten in {format_number(sets, 'set')} of keys")
