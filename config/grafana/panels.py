"""The kinds of panels that both dashboards are made of.

Each function returns a builder of Grafana's SDK: set what one panel needs, such as its `unit`,
on what is returned.
"""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import NamedTuple, TypeVar

from grafana_foundation_sdk.builders import common as options
from grafana_foundation_sdk.builders import (
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common, units
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
NAMESPACE = 'namespace=~"$namespace"'
RATE_INTERVAL = "[$__rate_interval]"
PER_MINUTE = "suffix: /min"
GREEN, YELLOW, RED, GREY = "green", "yellow", "red", "#6e7075"

P = TypeVar("P", stat.Panel, table.Panel, timeseries.Panel, statetimeline.Panel)
Panel = stat.Panel | table.Panel | timeseries.Panel | statetimeline.Panel
Steps = Sequence[tuple[float | None, str]]  # (value, colour from this value on); the first: None
Texts = Mapping[str, tuple[str, str]]  # value → (text, colour)

ZERO_IS_WELL: Steps = [(None, GREY), (0, GREEN), (1, RED)]
ONE_IS_WELL: Steps = [(None, RED), (1, GREEN)]


class Query(NamedTuple):
    """An expression, and the names of its series in the legend."""

    expr: str
    legend: str


class Column(NamedTuple):
    """A column of a table: its values, and what they look like."""

    expr: str
    unit: str = units.Short
    steps: Steps = ()  # with colours in the background
    texts: Texts | None = None


def stat_panel(
    title: str, description: str, *queries: Query, steps: Steps, span: int
) -> stat.Panel:
    """Return current values in large type on a coloured background.

    The first of `steps` is also the colour of "no data", so it must not look as if all were well.
    """
    panel = (
        stat.Panel()
        .color_mode(common.BigValueColorMode.BACKGROUND)
        .graph_mode(common.BigValueGraphMode.NONE)
        .text_mode(common.BigValueTextMode.AUTO)
        .reduce_options(options.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("no data")
        .thresholds(_thresholds(steps))
    )
    for ref, query in zip("ABCDEF", queries, strict=False):
        panel.with_target(_target(query, ref).instant())
    return _described(panel, title, description).span(span).height(5)


def graph_panel(
    title: str,
    description: str,
    *queries: Query,
    span: int = 12,
    stacked: bool = False,
    threshold: float | None = None,
) -> timeseries.Panel:
    """Return lines over time, or stacked areas; values above the red threshold are too high."""
    panel = (
        timeseries.Panel()
        .legend(
            options.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.TABLE)
            .placement(common.LegendPlacement.RIGHT if span > 12 else common.LegendPlacement.BOTTOM)
            .calcs(["lastNotNull", "max"])
            .show_legend(True)
        )
        .tooltip(options.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
        .fill_opacity(30 if stacked else 8)
        .show_points(common.VisibilityMode.NEVER)
        .min(0)
    )
    if stacked:
        panel.stacking(options.StackingConfig().mode(common.StackingMode.NORMAL))
    if threshold is not None:
        panel.thresholds(_thresholds([(None, GREEN), (threshold, RED)])).thresholds_style(
            options.GraphThresholdsStyleConfig().mode(common.GraphTresholdsStyleMode.LINE)
        )
    for ref, query in zip("ABCDEFGH", queries, strict=False):
        panel.with_target(_target(query, ref).range())
    return _described(panel, title, description).span(span).height(9)


def timeline_panel(title: str, description: str, query: Query, texts: Texts) -> statetimeline.Panel:
    """Return a bar for each series, coloured by its state over time."""
    panel = statetimeline.Panel().show_value(common.VisibilityMode.NEVER).merge_values(True)
    panel.mappings([value_texts(texts)]).with_target(_target(query, "A").range())
    return _described(panel, title, description).span(12).height(7)


def table_panel(title: str, description: str, columns: Mapping[str, Column]) -> table.Panel:
    """Return a table with a row for each set of labels, sorted by the first column, descending."""
    panel = table.Panel().show_header(True)
    first = options.TableSortByFieldState().display_name(next(iter(columns)))
    panel.sort_by([first.desc(True)])
    names = {}
    for ref, (name, column) in zip(ascii_uppercase, columns.items(), strict=False):
        target = _target(Query(column.expr, ""), ref).instant()
        panel.with_target(target.format(PromQueryFormat.TABLE))
        panel.override_by_name(name, _column_properties(column))
        names[f"Value #{ref}"] = name
    panel.with_transformation(models.DataTransformerConfig("merge", options={}))
    panel.with_transformation(
        models.DataTransformerConfig(
            "organize", options={"excludeByName": {"Time": True}, "renameByName": names}
        )
    )
    return _described(panel, title, description).span(24).height(11)


def _column_properties(column: Column) -> list[models.DynamicConfigValue]:
    properties = [models.DynamicConfigValue("unit", column.unit)]
    if column.steps:
        properties += [
            models.DynamicConfigValue("thresholds", _thresholds(column.steps).build()),
            models.DynamicConfigValue("custom.cellOptions", {"type": "color-background"}),
        ]
    if column.texts:
        properties.append(models.DynamicConfigValue("mappings", [value_texts(column.texts)]))
    return properties


def value_texts(texts: Texts) -> models.ValueMap:
    """Return the mapping that shows a text in place of each of these values."""
    return models.ValueMap(
        {
            value: models.ValueMappingResult(text=text, color=colour, index=index)
            for index, (value, (text, colour)) in enumerate(texts.items())
        }
    )


def annotation(name: str, expr: str, title: str, colour: str) -> models.AnnotationQuery:
    """Return marks on all graphs, from where the expression has a series to where it has none."""
    return _Annotation(name, expr, title, colour)


class _Annotation(models.AnnotationQuery):
    """Prometheus's fields `titleFormat` and `step` are missing in the SDK's type."""

    def __init__(self, name: str, expr: str, title: str, colour: str) -> None:
        super().__init__(name=name, datasource=SOURCE, enable=True, icon_color=colour, expr=expr)
        self._title = title

    def build(self) -> "_Annotation":
        return self

    def to_json(self) -> dict[str, object]:
        return super().to_json() | {"titleFormat": self._title, "step": "60s"}


def variable(name: str, label: str, metric: str) -> dashboard.QueryVariable:
    """Return a choice among the values of a metric's label.

    At first all are chosen, and series without the label, too.
    """
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": f"label_values({metric}, {name})", "refId": name})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(text="All", value="$__all", selected=True))
    )


def _pages() -> dashboard.QueryVariable:
    """Return the hidden variable `pages`: where busmon's pages are, empty without `public_url`."""
    return (
        dashboard.QueryVariable("pages")
        .datasource(SOURCE)
        .query(
            {"query": f"label_values(busmon_web_info{{{NAMESPACE}}}, public_url)", "refId": "pages"}
        )
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .hide(models.VariableHide.HIDE_VARIABLE)
    )


def page(title: str, path: str = "", **query: str) -> dashboard.DashboardLink:
    """Return a link to a page of busmon."""
    parameters = "&".join(f"{name}={value}" for name, value in query.items())
    return (
        dashboard.DashboardLink(title)
        .type(models.DashboardLinkType.LINK)
        .url(f"${{pages:raw}}/{path}{'?' if query else ''}{parameters}")
        .target_blank(True)
    )


def label(name: str) -> str:
    """Return what a link says for a label of the series that was clicked."""
    return f"${{__field.labels.{name}:percentencode}}"


def column(name: str) -> str:
    """Return what a link says for a column of the row that was clicked."""
    return f"${{__data.fields.{name}:percentencode}}"


def topic_page(bus: str = label("bus"), topic: str = label("topic")) -> dashboard.DashboardLink:
    """Return the link to the page of a topic."""
    return page("busmon: this topic", f"topics/{bus}/{topic}")


def new_dashboard(
    title: str, uid: str, description: str, variables: Sequence[dashboard.QueryVariable]
) -> dashboard.Dashboard:
    """Return a dashboard without panels; Prometheus is chosen by the first variable."""
    source = dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["busmon"])
        .refresh("1m")
        .time("now-6h", "now")
        .timezone("utc")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("busmon")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["busmon"])
            .include_vars(True)
            .keep_time(True)
        )
        .link(page("busmon's pages"))
        .variables([source, *variables, _pages()])
    )


def add_panels(made: dashboard.Dashboard, panels: Sequence[Panel | dashboard.Row]) -> None:
    """Lay panels out in their order, 24 columns wide."""
    for number, panel in enumerate(panels, 1):
        if isinstance(panel, dashboard.Row):
            made.with_row(panel.id(number))
        else:
            made.with_panel(panel.id(number))


def _described(panel: P, title: str, description: str) -> P:
    panel.title(title).description(description).datasource(SOURCE).unit(units.Short)
    return panel


def _target(query: Query, ref: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref)


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    made = [models.Threshold(value=value, color=colour) for value, colour in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(made)
