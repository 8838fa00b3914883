"""What an alert says: summary, description, and links to Grafana, busmon's pages, the runbook."""

import json
from functools import cache
from pathlib import Path

from rule import Alert
from settings import Settings

DASHBOARDS = Path(__file__).parents[1] / "grafana" / "dashboards"
HOURS_BEFORE = 6  # what a linked panel shows before the alert's condition began
DATE = "2006-01-02 15:04 UTC"  # the layout, in Go's way of writing one
TOPIC_PAGE = (
    '/topics/{{ $labels.bus | urlquery }}/{{ $labels.topic | urlquery | reReplaceAll "[+]" "%20" }}'
)


class UnknownPanel(Exception):
    """No dashboard, or more than one, has a panel of this title."""


def look_up(query: str, *labels: str, then: str) -> str:
    """Return an action that writes `then` for each result of a query by these labels.

    `query` has `%s` where the matchers of namespace and labels belong: `sum(metric{%s})`.
    """
    names = ("namespace", *labels)
    matchers = ",".join(f"{name}=%q" for name in names)
    values = " ".join(f"$labels.{name}" for name in names)
    promql = query.replace("%s", matchers)
    return f"{{{{ range query (printf `{promql}` {values}) }}}}{then}{{{{ end }}}}"


def since(query: str, *labels: str) -> str:
    """Return an action that writes since when, by the Unix time that a query gives."""
    return look_up(query, *labels, then=f' since {{{{ (. | value | toTime).Format "{DATE}" }}}}')


def annotate(alert: Alert, settings: Settings) -> dict[str, str]:
    """Return the annotations of an alert."""
    texts = {
        "summary": "{{ with $labels.namespace }}{{ . }}: {{ end }}" + alert.summary.strip(),
        "description": _description(alert),
    }
    if alert.panel:
        texts["dashboard_url"] = _dashboard_url(alert)
    if alert.page is not None:
        texts["page_url"] = _page_url(alert.page)
    texts["runbook_url"] = f"{settings.values['runbook']}#{alert.name.lower()}"
    return texts


def _began(alert: Alert) -> str:
    """Return a query for when the alert's condition began; it gives nothing in the first step."""
    return f'min(ALERTS_FOR_STATE{{alertname="{alert.name}",%s}})'


def _description(alert: Alert) -> str:
    return f"{alert.what} {alert.first}".strip()


def _page_url(path: str) -> str:
    query = "last_over_time(busmon_web_info{%s}[15m])"
    return look_up(query, then=f'{{{{ label "public_url" . }}}}{path}')


def _dashboard_url(alert: Alert) -> str:
    dashboard, panel = find_panel(alert.panel)
    return f"/d/{dashboard}/?viewPanel={panel}"


@cache
def _panels() -> dict[str, list[tuple[str, int]]]:
    found: dict[str, list[tuple[str, int]]] = {}
    for path in sorted(DASHBOARDS.glob("*.json")):
        dashboard = json.loads(path.read_text())
        rows = dashboard["panels"]
        for panel in [*rows, *(inner for row in rows for inner in row.get("panels", []))]:
            place = (dashboard["uid"], panel["id"])
            found.setdefault(panel.get("title", ""), []).append(place)
    return found


def find_panel(title: str) -> tuple[str, int]:
    """Return the dashboard's uid and the panel's number."""
    places = _panels().get(title, [])
    if len(places) != 1:
        raise UnknownPanel(f"{len(places)} panels have the title {title!r}")
    return places[0]
