"""What can be wrong with `[ledger]` beside its single settings."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from pydantic import ValidationError

from busmon.config.environment import Problem, Tables, subtables
from busmon.settings.models import LedgerSettings
from busmon.tls import UnusableFile, client_context


def ledger_problems(tables: Tables, context: dict[str, Any]) -> Iterator[Problem]:
    """Yield that what connects is not installed, and why the certificates cannot be used."""
    given = subtables(tables, "ledger")
    key = next((key for key in ("url", "url_file") if key in given), None)
    if key and not find_spec("psycopg"):
        yield ("ledger", key), 'needs psycopg: install busmon with its extra "postgresql"'
    try:
        ledger = LedgerSettings.model_validate(given, context=context)
        if ledger.ca or ledger.certificate:
            client_context(ledger.ca, ledger.certificate, ledger.key)
    except ValidationError:
        return  # which is reported by itself
    except UnusableFile as error:
        yield ("ledger", error.setting), error.why
