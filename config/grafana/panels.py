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
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common, units
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
PER_MINUTE = "suffix:/min"
GREEN, YELLOW, RED, GREY, BLUE = "green", "yellow", "red", "#6e7075", "blue"

P = TypeVar("P", stat.Panel, table.Panel, timeseries.Panel, statetimeline.Panel, heatmap.Panel)
Panel = stat.Panel | table.Panel | timeseries.Panel | statetimeline.Panel | heatmap.Panel
Place = Panel | dashboard.Row | tuple[Panel, ...]  # of a tuple one below the other
Steps = Sequence[tuple[float | None, str]]  # (value, colour from this value on); the first: None
Texts = Mapping[str, tuple[str, str]]  # value → (text, colour)

ZERO_IS_WELL: Steps = [(None, GREY), (0, GREEN), (1, RED)]
ONE_IS_WELL: Steps = [(None, RED), (1, GREEN)]


class Query(NamedTuple):
    """An expression, and the names of its series in the legend."""

    expr: str
    legend: str
    min_step: str = ""


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
    for ref, query in zip(ascii_uppercase, queries, strict=False):
        panel.with_target(_target(query, ref).instant())
    return _described(panel, title, description).span(span).height(4)


def graph_panel(
    title: str,
    description: str,
    *queries: Query,
    span: int = 12,
    stacked: bool = False,
    limits: Steps = (),
) -> timeseries.Panel:
    """Return lines over time, or stacked areas; `limits` are drawn as lines of their colours."""
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
    if limits:
        panel.thresholds(_thresholds([(None, "transparent"), *limits])).thresholds_style(
            options.GraphThresholdsStyleConfig().mode(common.GraphTresholdsStyleMode.LINE)
        )
    for ref, query in zip(ascii_uppercase, queries, strict=False):
        panel.with_target(_target(query, ref).range())
    return _described(panel, title, description).span(span).height(9)


def colour(name: str) -> list[models.DynamicConfigValue]:
    """Return what gives a series of a graph this colour."""
    return [models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": name})]


def area(name: str) -> list[models.DynamicConfigValue]:
    """Return what makes a series an area of this colour, stacked on the areas before it."""
    stacking = options.StackingConfig().mode(common.StackingMode.NORMAL).group("areas")
    return [
        *colour(name),
        models.DynamicConfigValue("custom.stacking", stacking.build()),
        models.DynamicConfigValue("custom.fillOpacity", 60),
        models.DynamicConfigValue("custom.lineWidth", 0),
    ]


def heatmap_panel(title: str, description: str, buckets: str) -> heatmap.Panel:
    """Return how many observations each bucket of a histogram (by `le`) has over time."""
    panel = (
        heatmap.Panel()
        .calculate(False)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges"))
        .y_axis(heatmap.YAxisConfig().unit(units.Seconds))
        .show_tooltip()
        .max_data_points(60)  # wide cells
        .with_target(_target(Query(buckets, "{{le}}"), "A").range().format(PromQueryFormat.HEATMAP))
    )
    return _described(panel, title, description).height(8)


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


def _described(panel: P, title: str, description: str) -> P:
    panel.title(title).description(description).datasource(SOURCE).unit(units.Short)
    return panel


def _target(query: Query, ref: str) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref)
    return target.interval(query.min_step) if query.min_step else target


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    made = [models.Threshold(value=value, color=colour) for value, colour in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(made)
