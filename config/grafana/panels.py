"""The few shapes of panels that both dashboards are made of."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

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
RATE = "[$__rate_interval]"
GREEN, YELLOW, RED, GREY = "green", "yellow", "red", "#6e7075"

Panel = stat.Panel | table.Panel | timeseries.Panel | statetimeline.Panel
Steps = Sequence[tuple[float | None, str]]  # from which value on which colour; the first: None
Words = Mapping[str, tuple[str, str]]  # a value's word and colour


class Query(NamedTuple):
    """An expression, and what its series are called in the legend."""

    expr: str
    legend: str


def summary(
    title: str,
    description: str,
    *queries: Query,
    steps: Steps,
    span: int,
    unit: str = units.Short,
    words: Words | None = None,
    names: bool = False,
    none: str = "no data",
) -> stat.Panel:
    """Return large words or numbers on a coloured ground, as they are now.

    With `names` the name of the series is told, and not its value. The first of `steps` is
    also the colour where there is no data, so it must not say that all is well.
    """
    panel = (
        stat.Panel()
        .color_mode(common.BigValueColorMode.BACKGROUND)
        .graph_mode(common.BigValueGraphMode.NONE)
        .text_mode(common.BigValueTextMode.NAME if names else common.BigValueTextMode.AUTO)
        .reduce_options(options.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value(none)
    )
    _describe(panel, title, description, unit, span, 5)
    panel.thresholds(_thresholds(steps))
    if words:
        panel.mappings([_words(words)])
    for ref, query in zip("ABCDEF", queries, strict=False):
        panel.with_target(_target(query, ref).instant())
    return panel


def graph(
    title: str,
    description: str,
    *queries: Query,
    unit: str = units.Short,
    span: int = 12,
    stacked: bool = False,
    limit: float | None = None,
    most: float | None = None,
) -> timeseries.Panel:
    """Return lines over time, or areas on each other; above `limit` a line says it is too much."""
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
    _describe(panel, title, description, unit, span, 9)
    if stacked:
        panel.stacking(options.StackingConfig().mode(common.StackingMode.NORMAL))
    if most is not None:
        panel.max(most)
    if limit is not None:
        panel.thresholds(_thresholds([(None, GREEN), (limit, RED)])).thresholds_style(
            options.GraphThresholdsStyleConfig().mode(common.GraphTresholdsStyleMode.LINE)
        )
    for ref, query in zip("ABCDEFGH", queries, strict=False):
        panel.with_target(_target(query, ref).range())
    return panel


def timeline(
    title: str, description: str, query: Query, words: Words, span: int = 24
) -> statetimeline.Panel:
    """Return a bar for each series, coloured by its state over time."""
    panel = statetimeline.Panel().show_value(common.VisibilityMode.NEVER).merge_values(True)
    _describe(panel, title, description, units.Short, span, 7)
    return panel.mappings([_words(words)]).with_target(_target(query, "A").range())


def columns(
    title: str,
    description: str,
    queries: Mapping[str, tuple[str, str]],
    *,
    hidden: Sequence[str] = (),
    coloured: Mapping[str, Steps],
    words: Mapping[str, Words],
) -> table.Panel:
    """Return a table with a row for each set of labels, and a column for each (expr, unit).

    It is sorted by the first column, downwards.
    """
    panel = _describe(table.Panel(), title, description, units.Short, 24, 11)
    first = options.TableSortByFieldState().display_name(next(iter(queries)))
    panel.show_header(True).sort_by([first.desc(True)])
    renamed = {}
    for ref, (name, (expr, unit)) in zip("ABCDEF", queries.items(), strict=False):
        instant = _target(Query(expr, ""), ref).instant()
        panel.with_target(instant.format(PromQueryFormat.TABLE))
        renamed[f"Value #{ref}"] = name
        properties = [models.DynamicConfigValue("unit", unit)]
        if name in coloured:
            properties += [
                models.DynamicConfigValue("thresholds", _thresholds(coloured[name]).build()),
                models.DynamicConfigValue("custom.cellOptions", {"type": "color-background"}),
            ]
        if name in words:
            properties.append(models.DynamicConfigValue("mappings", [_words(words[name])]))
        panel.override_by_name(name, properties)
    panel.with_transformation(models.DataTransformerConfig("merge", options={}))
    return panel.with_transformation(
        models.DataTransformerConfig(
            "organize",
            options={
                "excludeByName": dict.fromkeys(["Time", *hidden], True),
                "renameByName": renamed,
            },
        )
    )


def row(title: str) -> dashboard.Row:
    """Return the heading of the panels below it."""
    return dashboard.Row(title)


def annotation(name: str, expr: str, title: str, colour: str) -> models.AnnotationQuery:
    """Return marks on all graphs, from where the expression has a series to where it has none.

    The SDK's type lacks the fields of Prometheus.
    """
    return _Annotation(name, expr, title, colour)


class _Annotation(models.AnnotationQuery):
    def __init__(self, name: str, expr: str, title: str, colour: str) -> None:
        super().__init__(name=name, datasource=SOURCE, enable=True, icon_color=colour, expr=expr)
        self._title = title

    def build(self) -> "_Annotation":
        return self

    def to_json(self) -> dict[str, object]:
        return super().to_json() | {"titleFormat": self._title, "step": "60s"}


def source_variable() -> dashboard.DatasourceVariable:
    """Return the choice of Prometheus."""
    return dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")


def variable(name: str, label: str, values: str) -> dashboard.QueryVariable:
    """Return a choice among the values of a label; all of them, and series without it, at first."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": f"label_values({values}, {name})", "refId": name})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(text="All", value="$__all", selected=True))
    )


def board(
    title: str,
    uid: str,
    description: str,
    variables: Sequence[dashboard.QueryVariable],
    panels: Sequence[Panel | dashboard.Row],
    annotations: Sequence[models.AnnotationQuery] = (),
) -> models.Dashboard:
    """Return a dashboard; its panels are laid out in their order, 24 columns wide."""
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["busmon"])
        .refresh("1m")
        .time("now-6h", "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("busmon")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["busmon"])
            .include_vars(True)
            .keep_time(True)
        )
        .variables([source_variable(), *variables])
        .annotations(list(annotations))
    )
    for number, panel in enumerate(panels, 1):
        if isinstance(panel, dashboard.Row):
            made.with_row(panel.id(number))
        else:
            made.with_panel(panel.id(number))
    return made.build()


def _describe(
    panel: Panel, title: str, description: str, unit: str, span: int, height: int
) -> Panel:
    return (
        panel.title(title)
        .description(description)
        .unit(unit)
        .datasource(SOURCE)
        .span(span)
        .height(height)
    )


def _target(query: Query, ref: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref)


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    made = [models.Threshold(value=value, color=colour) for value, colour in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(made)


def _words(words: Words) -> models.ValueMap:
    return models.ValueMap(
        {
            value: models.ValueMappingResult(text=text, color=colour, index=index)
            for index, (value, (text, colour)) in enumerate(words.items())
        }
    )
