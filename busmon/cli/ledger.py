"""`busmon ledger …`: what is done to a ledger while no busmon runs."""

from pathlib import Path

import click

from busmon.cli.common import config_option, fatal, load_config


@click.group()
def ledger() -> None:
    """Care for a ledger in PostgreSQL. One in a file needs nothing."""


@ledger.command()
@config_option
def migrate(path: Path | None) -> None:
    """Give a ledger in PostgreSQL the form that this version of busmon needs.

    `busmon run` refuses a ledger of an older version, and says so. Stop every busmon of the
    ledger, and make a backup of it, before you migrate it: an older busmon cannot read it any
    more. All is done in one transaction. A ledger in a file is migrated by `busmon run`.

    Exit status: 0 the ledger has the form that it needs, 1 nothing was changed, 2 wrong command
    line or configuration.
    """
    place = load_config(path).ledger.place()
    if isinstance(place, str):
        click.echo("the ledger is a file, which `busmon run` migrates")
        return
    from busmon.ledger.errors import LedgerError
    from busmon.ledger.postgresql.migrations import migrate

    with fatal(LedgerError):
        before, after = migrate(place)
    done = "needs no migration" if before == after else f"was migrated from version {before}"
    click.echo(f"the ledger has version {after}; it {done}")
