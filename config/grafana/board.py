"""What both dashboards have: variables, annotations, links, and how panels are laid out."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models
from links import page
from panels import SOURCE, Panel, Place
from queries import BUSMON, NAMESPACE

# The label `job` of busmon: as it is in the examples, or as the PodMonitor names it.
JOBS = "(.+/)?busmon"


def single(name: str, label: str, metric: str) -> dashboard.QueryVariable:
    """Return a choice of one value of a metric's label; at first the first one.

    Without the label, the value is empty, which selects the series without it.
    """
    return _query(name, f"label_values({metric}, {name})").label(label)


def several(
    name: str, label: str, metric: str, *, of: str = "", all_value: str = ".*"
) -> dashboard.QueryVariable:
    """Return a choice among the values of a metric's label (`of`, if not named as the variable).

    At first all are chosen, by `all_value`.
    """
    return (
        _query(name, f"label_values({metric}, {of or name})")
        .label(label)
        .multi(True)
        .include_all(True)
        .all_value(all_value)
        .current(models.VariableOption(text="All", value="$__all", selected=True))
    )


def busmons() -> list[dashboard.QueryVariable]:
    """Return the choices of busmon's job and instance; at first all that the alerts watch, too."""
    info = f"busmon_build_info{{{NAMESPACE}}}"
    chosen = f'busmon_build_info{{{NAMESPACE},job=~"$job"}}'
    return [
        several("job", "Job", info, all_value=JOBS),
        several("instance", "Instance", chosen),
    ]


def hidden(name: str, query: str, regex: str = "") -> dashboard.QueryVariable:
    """Return a variable that links and queries use, and nobody chooses."""
    return _query(name, query).regex(regex).hide(models.VariableHide.HIDE_VARIABLE)


def half_window() -> dashboard.QueryVariable:
    """Return the hidden variable of `HALF_A_WINDOW`."""
    seconds = f"ceil(max(busmon_audit_window_seconds{{{BUSMON}}}) / 2) or vector(150)"
    return hidden("half_window", f"query_result({seconds})", r"/ (\d+) /")


def _query(name: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .datasource(SOURCE)
        .query({"query": query, "refId": name})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )


def annotation(name: str, expr: str, title: str, colour: str) -> Builder[models.AnnotationQuery]:
    """Return marks on all graphs, from where the expression has a series to where it has none."""
    return _Annotation(name, expr, title, colour)


def busmon_starts() -> Builder[models.AnnotationQuery]:
    """Return marks at the starts of busmon."""
    expr = f"time() - process_start_time_seconds{{{BUSMON}}} < 90"
    return annotation("Start of busmon", expr, "busmon started: {{instance}}", "blue")


class _Annotation(models.AnnotationQuery, Builder[models.AnnotationQuery]):
    """Prometheus's fields `titleFormat` and `step` are missing in the SDK's type."""

    def __init__(self, name: str, expr: str, title: str, colour: str) -> None:
        super().__init__(name=name, datasource=SOURCE, enable=True, icon_color=colour, expr=expr)
        self._title = title

    def build(self) -> "_Annotation":
        return self

    def to_json(self) -> dict[str, object]:
        return super().to_json() | {"titleFormat": self._title, "step": "60s"}


def new_dashboard(
    title: str,
    uid: str,
    description: str,
    variables: Sequence[dashboard.QueryVariable],
    other: dashboard.DashboardLink,
) -> dashboard.Dashboard:
    """Return a dashboard without panels; Prometheus is chosen by the first variable."""
    source = dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    # Where busmon's pages are; empty without `public_url`.
    pages = hidden("pages", f"label_values(busmon_web_info{{{BUSMON}}}, public_url)")
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["busmon"])
        .readonly()
        .refresh("1m")
        .time("now-6h", "now")
        .timezone("utc")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(other)
        .link(page("busmon's pages"))
        .variables([source, *variables, pages])
    )


def add_panels(made: dashboard.Dashboard, panels: Sequence[Place]) -> None:
    """Lay panels out in their order, 24 columns wide; those of a tuple one below the other."""
    left = top = bottom = number = 0
    for place in panels:
        stack = place if isinstance(place, tuple) else (place,)
        width = 24 if isinstance(stack[0], dashboard.Row) else _size(stack[0]).w
        if left + width > 24:
            left, top = 0, bottom
        low = top
        for panel in stack:
            number += 1
            height = 1 if isinstance(panel, dashboard.Row) else _size(panel).h
            panel.id(number).grid_pos(models.GridPos(x=left, y=low, w=width, h=height))
            if isinstance(panel, dashboard.Row):
                made.with_row(panel)
            else:
                made.with_panel(panel)
            low += height
        left, bottom = left + width, max(bottom, low)


def _size(panel: Panel) -> models.GridPos:
    position = panel.build().grid_pos
    if position is None:
        raise ValueError("a panel without a size: panels.py gives each one")
    return position
