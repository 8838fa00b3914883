"""`busmon ledger …`: what is done to a ledger while no busmon runs."""

from pathlib import Path

import click

from busmon.cli.common import (
    CONFIGURATION,
    config_option,
    fail,
    fatal,
    ledger_path,
    load_config,
)


@click.group()
def ledger() -> None:
    """Care for a ledger in PostgreSQL. One in a file needs nothing."""


@ledger.command()
@config_option
@click.argument("file", metavar="LEDGER", callback=ledger_path)
def copy(path: Path | None, file: str) -> None:
    """Copy a ledger from a file to PostgreSQL.

    LEDGER is the file. The database is the one that `url` in [ledger] names; it must have no
    ledger yet. Stop busmon first. If the command is interrupted, run it again: it goes on where
    it was, and busmon refuses the database until all is copied. At the end all rows of both
    ledgers are compared. The file is not changed. A busmon that is started with the database then
    continues where it was, and counts nothing twice.

    Exit status: 0 all is copied, 1 not all is copied, 2 wrong command line or configuration.
    """
    place = load_config(path).ledger.place()
    if isinstance(place, str):
        fail(CONFIGURATION, "ledger.url: should name the database to copy to")
    from busmon.ledger.errors import LedgerError
    from busmon.ledger.postgresql.copying import copy

    with fatal(LedgerError):
        copy(file, place, click.echo)


@ledger.command()
@config_option
def migrate(path: Path | None) -> None:
    """Bring a ledger in PostgreSQL to this version.

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
