"""What can be wrong with `[ledger]` beside its single settings."""

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from busmon.config.environment import Place, Tables, subtables
from busmon.settings.models import LedgerSettings
from busmon.sources.tls import UnusableFile, client_context


def ledger_problems(tables: Tables, context: dict[str, Any]) -> Iterator[tuple[Place, str]]:
    """Yield why the certificates for the database cannot be used."""
    try:
        ledger = LedgerSettings.model_validate(subtables(tables, "ledger"), context=context)
        if ledger.ca or ledger.certificate:
            client_context(ledger.ca, ledger.certificate, ledger.key)
    except ValidationError:
        return  # which is reported by itself
    except UnusableFile as error:
        yield ("ledger", error.setting), error.why
