"""What the user of the rules can change: settings.toml, and his own file on top of it."""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "settings.toml"
SEVERITIES = ("critical", "warning", "none")
DURATIONS = ("for", "keep_firing_for")
UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week"}
UNKNOWN_PUBLISHER = "the administrators of its publisher"
GO_VARIABLES = {"labels", "value", "i", "found"}


class SettingsError(Exception):
    """A settings file has a setting that nothing uses, or the rules need one that it lacks."""


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
                _merge(values, tomllib.loads(own.read_text()))
            except (SettingsError, tomllib.TOMLDecodeError, OSError) as error:
                raise SettingsError(f"{own}: {error}") from error
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


def _merge(values: dict[str, Any], own: dict[str, Any], place: str = "") -> None:
    for key, value in own.items():
        default = values.get(key)
        if default is None and "severity" in values and key in DURATIONS:
            default = ""  # any alert may have them
        if default is None:
            raise SettingsError(f"{place}{key}: unknown setting")
        if _kind(value) is not _kind(default):
            raise SettingsError(f"{place}{key}: {value!r} is of another type than the default")
        if key == "severity" and value not in SEVERITIES:
            raise SettingsError(f"{place}{key}: {value!r} is not {' or '.join(SEVERITIES)}")
        if isinstance(value, dict) and key != "publishers":
            _merge(values[key], value, f"{place}{key}.")
        else:
            values[key] = value


def _kind(value: object) -> type:
    return float if isinstance(value, int) else type(value)


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
        return duration_in_words(str(table[name])) if words else str(table[name])

    return re.sub(r"\$(\w+)", setting, text)


def duration_in_words(text: str) -> str:
    """Return "3 minutes" for "3m"; anything that is no duration stays."""
    if not (match := re.fullmatch(r"(\d+)([smhdw])", text)):
        return text
    number, unit = match.groups()
    return f"{number} {UNITS[unit]}{'s' if number != '1' else ''}"
