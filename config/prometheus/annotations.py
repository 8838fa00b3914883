"""What an alert says: summary, description, and links to Grafana, busmon's pages, the runbook."""

import json
import re
from functools import cache
from pathlib import Path

from rule import Alert
from settings import Settings

DASHBOARDS = Path(__file__).parents[1] / "grafana" / "dashboards"
TIME = '{{ (. | value | toTime).Format "2006-01-02 15:04 UTC" }}'  # Go's way to give a layout
NUMBER = '{{ . | value | printf "%.0f" }}'
MESSAGES = '{{ printf "%.0f" $value }} message{{ if ne (printf "%.0f" $value) "1" }}s{{ end }}'
# A publisher can write anything into a topic: shown are no line breaks, and nothing invisible.
TOPIC = re.compile(r"\{\{\s+((?:\$labels|[.]Labels)[.]topic)\s+\}\}")
SHOWN = r'{{ \1 | reReplaceAll `\\p{C}` "?" }}'
SECONDS_BEFORE = 6 * 3600  # what a linked panel shows before the alert's condition began
TOPIC_PAGE = (
    '/topics/{{ $labels.bus | urlquery }}/{{ $labels.topic | urlquery | reReplaceAll "[+]" "%20" }}'
)


class UnknownPanel(Exception):
    """No dashboard has a panel of this title, or more than one has."""


def each(query: str, *labels: str, then: str, between: str = "") -> str:
    """Return an action that writes `then` for each series that a query finds.

    In the query, `%s` stands for the matchers of the alert's namespace and these labels of it:
    `sum(busmon_open_gap_messages{%s})`. In `then`, `.` is the series. `between` separates several.
    """
    names = ("namespace", *labels)
    matchers = ",".join(f"{name}=%q" for name in names)
    values = " ".join(f"$labels.{name}" for name in names)
    action = f"query (printf `{query.replace('%s', matchers)}` {values})"
    if between:
        action = f"$i, $found := {action}"
        then = f"{{{{ if $i }}}}{between}{{{{ end }}}}{then}"
    return f"{{{{ range {action} }}}}{then}{{{{ end }}}}"


def when(sentence: str, query: str, *labels: str) -> str:
    """Return an action that writes a sentence, in which TIME is the Unix time that a query finds.

    Without a result it writes nothing. The query must find one series at most.
    """
    return each(query, *labels, then=sentence.replace("TIME", TIME) + " ")


def annotate(alert: Alert, settings: Settings) -> dict[str, str]:
    """Return the annotations of an alert."""
    began = f'min(ALERTS_FOR_STATE{{alertname="{alert.name}",%s}})'
    since = alert.since or when(alert.began, began, *alert.by)
    texts = {
        "summary": "{{ with $labels.namespace }}{{ . }}: {{ end }}" + alert.summary.strip(),
        "description": f"{alert.what.strip()} {since}{alert.first.strip()}",
    }
    texts = {name: TOPIC.sub(SHOWN, text) for name, text in texts.items()}
    if alert.panel:
        texts["dashboard_url"] = _dashboard_url(alert, began)
    if alert.page is not None:
        link = '{{ label "public_url" . }}' + alert.page
        texts["page_url"] = _by_info(alert, "public_url", "15m", link)
    texts["runbook_url"] = f"{settings.values['runbook']}#{alert.name.lower()}"
    return texts


def _by_info(alert: Alert, label: str, remembered: str, then: str) -> str:
    """Return an action that needs what busmon says of itself, also while it does not answer."""
    labels = ("instance",) if "instance" in alert.by else ()
    info = f'busmon_web_info{{{label}!="",%s}}[{remembered}]'
    return each(f"topk(1, last_over_time({info}))", *labels, then=then)


def _dashboard_url(alert: Alert, began: str) -> str:
    dashboard, panel = find_panel(alert.panel)
    variables = "".join(
        f"{{{{ with $labels.{name} }}}}&var-{name}={{{{ . | urlquery }}}}{{{{ end }}}}"
        for name in ("bus", "topic")
        if name in alert.by
    )
    start = f"1000 * (({began} or vector(time())) - {SECONDS_BEFORE})"
    link = (
        f'{{{{ label "grafana_url" . }}}}/d/{dashboard}?viewPanel={panel}'
        f"&var-namespace={{{{ $labels.namespace | urlquery }}}}{variables}"
        f"&from={each(start, *alert.by, then=NUMBER)}&to=now"
    )
    return _by_info(alert, "grafana_url", alert.remembered, link)


def find_panel(title: str) -> tuple[str, int]:
    """Return the dashboard's uid and the panel's number; of two, a graph rather than a number."""
    places = _panels().get(title, {})
    kinds = [kind for kind in places if kind != "stat"] or list(places)
    if len(kinds) != 1 or len(places[kinds[0]]) != 1:
        raise UnknownPanel(f"no panel of a dashboard, or more than one, is called {title!r}")
    return places[kinds[0]][0]


@cache
def _panels() -> dict[str, dict[str, list[tuple[str, int]]]]:
    """Return the places of panels by title and kind."""
    found: dict[str, dict[str, list[tuple[str, int]]]] = {}
    for path in sorted(DASHBOARDS.glob("*.json")):
        dashboard = json.loads(path.read_text())
        rows = dashboard["panels"]
        for panel in [*rows, *(inner for row in rows for inner in row.get("panels", []))]:
            kinds = found.setdefault(panel.get("title", ""), {})
            kinds.setdefault(panel["type"], []).append((dashboard["uid"], panel["id"]))
    return found
