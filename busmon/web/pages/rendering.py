"""Templates over data, as HTML. Whatever a template shows is escaped, and on one line."""

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from busmon import __version__
from busmon.settings.models import Web
from busmon.text import format_age, format_duration, format_number, format_time, printable
from busmon.web.axes import exact
from busmon.web.graph import heads, rows, svg
from busmon.web.pages.files import FOLDER, Files
from busmon.web.pages.state import State
from busmon.web.pages.urls import Urls

RUNBOOK = "https://github.com/packit/busmon/blob/main/config/prometheus/RUNBOOK.md"
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<rect width="32" height="32" rx="6" fill="{}"/><text x="16" y="24" font-size="22"'
    ' text-anchor="middle" fill="#fff" font-family="sans-serif" font-weight="bold">{}</text></svg>'
)
COLOURS = {"good": "#1a7f37", "bad": "#cf222e", "warning": "#9a6700", "unknown": "#57606a"}


class Renderer:
    """Renders the templates of web/templates."""

    def __init__(self, settings: Web, urls: Urls, files: Files) -> None:
        self._templates = Environment(
            loader=PackageLoader("busmon.web", "templates"),
            autoescape=True,
            auto_reload=False,
            finalize=_shown,
            lstrip_blocks=True,
            trim_blocks=True,
            undefined=StrictUndefined,
        )
        self._templates.filters |= {
            "at": at,
            "age": format_age,
            "breakable": breakable,
            "duration": format_duration,
            "for_shell": shlex.quote,
            "number": "{:,}".format,
            "of": format_number,
        }
        static = {name: urls.page(FOLDER, *digest) for name, digest in _paths(files).items()}
        self._templates.globals |= {
            "url": urls.page,
            "svg": lambda shown: Markup(svg(shown)),  # noqa: S704 - all of it is escaped there
            "heads": heads,
            "rows": rows,
            "exact": exact,
            "static": static,
            "grafana": settings.grafana_url,
            "prometheus": settings.prometheus_url,
            "runbook": RUNBOOK,
            "version": __version__,
        }

    def render(self, template: str, state: State, values: Mapping[str, object]) -> str:
        """Return the page as HTML."""
        icon = quote(ICON.format(COLOURS[state.level], state.symbol))
        chosen = self._templates.get_template(template)
        return chosen.render(values, worst=state, icon=f"data:image/svg+xml,{icon}")


def at(unix: float | None) -> str:
    """Return a Unix time as HTML, to the minute; its title has the seconds, too."""
    if unix is None:
        return ""
    full, iso = format_time(unix), datetime.fromtimestamp(unix, UTC).isoformat(timespec="seconds")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso, full, full[:16])


def breakable(text: str) -> str:
    """Return a text as HTML in which a line can break before a dot, as in the name of a topic."""
    return Markup("<wbr>.").join(printable(text).split("."))


def _paths(files: Files) -> dict[str, tuple[str, str]]:
    return {name: (digest, name) for name, digest in files.digests.items()}


def _shown(value: object) -> object:
    """Return what a template shows of a value: of text from outside no control characters."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(value)
    return value
