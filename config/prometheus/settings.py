"""What the user of the rules can change: settings.toml, and a file of their own on top of it."""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from own_settings import merge

FILE = Path(__file__).parent / "settings.toml"
UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week"}
UNKNOWN_PUBLISHER = "the administrators of its publisher"
GO_VARIABLES = {"labels", "value", "i", "found"}


class SettingsError(Exception):
    """A settings file is wrong, or the rules need a setting that it lacks."""


@dataclass
class Settings:
    """The merged settings; `used` records which alerts asked for theirs."""

    values: dict[str, Any]
    used: set[str] = field(default_factory=set)

    @classmethod
    def load(cls, own: Path | None = None) -> "Settings":
        """Return the shipped settings, changed by the user's own file if there is one."""
        values = tomllib.loads(FILE.read_text())
        if own is not None:
            try:
                changes = tomllib.loads(own.read_text())
            except (ValueError, OSError) as error:  # not TOML, not UTF-8, not there
                raise SettingsError(f"{own}: {error}") from error
            if mistakes := list(merge(values, changes)):
                raise SettingsError("\n".join(f"{own}: {mistake}" for mistake in mistakes))
        return cls(values)

    def of_alert(self, name: str, variant: str = "") -> dict[str, Any]:
        """Return the table of an alert, or of one variant of it."""
        table: dict[str, Any] = self.values["alerts"].get(name, {})
        if variant:
            table = table.get(variant, {})
        key = f"{name}.{variant}" if variant else name
        if "severity" not in table:
            raise SettingsError(f"settings.toml lacks alerts.{key}")
        self.used.add(key)
        common = ("pages", "status_page", "bus_administrators")
        return {name: self.values[name] for name in common} | {"publisher": self.publisher} | table

    def check_all_used(self) -> None:
        """Raise if a table of an alert belongs to no alert."""
        known = {
            f"{name}.{variant}" if isinstance(inner, dict) else name
            for name, table in self.values["alerts"].items()
            for variant, inner in table.items()
        }
        if unused := known - self.used:
            raise SettingsError(f"no alert has these settings: {', '.join(sorted(unused))}")

    @property
    def job(self) -> str:
        """The matcher that finds the series of busmon, and no others."""
        return f'job=~"{self.values["job"]}"'

    @property
    def publisher(self) -> str:
        """Return an action that names who administers the publisher of the alert's topic."""
        known = self.values["publishers"].items()
        cases = [f"if match `{topic}` $labels.topic }}}}{who}" for topic, who in known]
        if not cases:
            return UNKNOWN_PUBLISHER
        return f"{{{{ {'{{ else '.join(cases)}{{{{ else }}}}{UNKNOWN_PUBLISHER}{{{{ end }}}}"

    def labels(self, name: str, variant: str) -> dict[str, str]:
        """Return the labels of an alert; two variants of it never have the same.

        In a staging namespace nothing wakes anybody up: what is critical elsewhere is a warning,
        and `downgraded_from` says so.
        """
        variants = self.values["alerts"][name]
        severity: str = (variants[variant] if variant else variants)["severity"]
        labels = {"severity": severity}
        staging = "|".join(self.values["staging"])
        if staging and severity == "critical":
            condition = f'{{{{ if match "^({staging})$" $labels.namespace }}}}'
            labels = {
                "severity": f"{condition}warning{{{{ else }}}}critical{{{{ end }}}}",
                "downgraded_from": f"{condition}critical{{{{ end }}}}",
            }
        if variant and [of["severity"] for of in variants.values()].count(severity) > 1:
            labels["variant"] = variant
        return labels | {"service": "busmon"}


def fill(text: str, table: dict[str, Any], *, words: bool = False) -> str:
    """Replace `$name` by that setting of the alert; with `words`, "3m" becomes "3 minutes".

    Variables of Go's templates stay: `$labels`, `$value`, and those that the text assigns itself.
    """
    own = set(re.findall(r"\$(\w+) :?=", text)) | GO_VARIABLES

    def setting(match: re.Match[str]) -> str:
        name = match[1]
        if name in own:
            return match[0]
        if name not in table:
            raise SettingsError(f"no setting {name}: {text}")
        return in_words(name, table[name]) if words else str(table[name])

    return re.sub(r"\$(\w+)", setting, text)


def in_words(name: str, value: Any) -> str:
    """Return "3 minutes" for "3m", and "30 %" for the share 0.3; anything else stays."""
    if name == "share":
        return f"{100 * value:g} %"
    if not (match := re.fullmatch(r"(\d+)([smhdw])", str(value))):
        return str(value)
    number, unit = match.groups()
    return f"{number} {UNITS[unit]}{'s' if number != '1' else ''}"
