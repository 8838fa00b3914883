"""The credentials of the web server: each of them must be for one purpose only."""

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from busmon.config.environment import Problem, Tables, subtables
from busmon.observers.tap import TapSettings
from busmon.settings.models import Web


def shared_credentials(tables: Tables, context: dict[str, Any]) -> Iterator[Problem]:
    """Yield the operators whose login is also that of somebody who must not accept gaps."""
    given = subtables(tables, "web")
    try:
        web = Web.model_validate(given, context=context)
    except ValidationError:
        return  # which is reported by itself
    others = dict(_others(web, tables, context))
    for name, operator in web.operators.items():
        place = "web", "operators", name
        if name == web.username:
            yield place, "is the username that reads; choose another name"
        if other := others.get(operator.password.get_secret_value()):
            table = subtables(subtables(given, "operators"), name)
            key = "password" if "password" in table else "password_file"
            yield (*place, key), f"is that of {other}; each needs its own"


def _others(web: Web, tables: Tables, context: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each secret of the web server that is no operator's, and its setting."""
    reports = subtables(subtables(tables, "audit"), "reports")
    try:
        tap = TapSettings.model_validate(reports, context=context)
        yield tap.token.get_secret_value(), "audit.reports.token"
    except ValidationError:
        pass
    for setting, secret in (("web.token", web.token), ("web.password", web.password)):
        if secret:
            yield secret.get_secret_value(), setting
