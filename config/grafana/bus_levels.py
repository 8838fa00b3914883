"""How late messages are, in *Bus volume and gaps*: service levels, and delays by stage."""

from grafana_foundation_sdk.builders.dashboard import Row
from grafana_foundation_sdk.models import units
from links import incidents_page, page
from panels import RED, YELLOW, Place, Query, graph_panel, heatmap_panel
from queries import BUS, RATE_INTERVAL, current, increase

JUDGED = BUS + ',within!="unknown"'
UNKNOWN = BUS + ',within="unknown"'
OBJECTIVE = current("busmon_slo_objective", BUS, "bus, slo")
BUCKETS = "busmon_stage_delay_seconds_bucket"


def slo_messages(matchers: str, span: str) -> str:
    """Return the messages of each service level in this time."""
    counts = increase("busmon_slo_messages_total", matchers, "bus, slo, within", span)
    return f"sum by (bus, slo) ({counts})"


def missed_share(span: str) -> str:
    """Return the share of the messages, of which it is known, that were late or lost."""
    missed = slo_messages(BUS + ',within="false"', span)
    return f"{missed} / ({slo_messages(JUDGED, span)} > 0)"


LEVELS: list[Place] = [
    Row("Service levels and delays"),
    graph_panel(
        "Service levels",
        "Of the messages of each service level in 6 hours, the share that was in time, beside the"
        " objective. Messages of which nobody knows are not in it, but in the third line.",
        Query(f"1 - {missed_share('6h')}", "{{slo}}: in time"),
        Query(OBJECTIVE, "{{slo}}: objective"),
        Query(
            f"{slo_messages(UNKNOWN, '6h')}"
            f" / ({slo_messages(JUDGED, '6h')} + {slo_messages(UNKNOWN, '6h')} > 0)",
            "{{slo}}: unknown",
        ),
    )
    .unit(units.PercentUnit)
    .max(1)
    .data_links([incidents_page()]),
    graph_panel(
        "Use of the error budget",
        "The messages that were late or lost in an hour, as a multiple of what the objective"
        " allows: at 1, the budget of 30 days lasts 30 days. At 14.4, a fiftieth of it is used up"
        " in this hour, which pages.",
        Query(f"({missed_share('1h')}) / (1 - {OBJECTIVE})", "{{slo}}"),
        limits=[(1, YELLOW), (14.4, RED)],
    ).data_links([incidents_page()]),
    graph_panel(
        "Delays by stage",
        "The time in which 95 % of the messages came from each stage to the next: `bus` from"
        " sending to busmon, `listener` from there until it was passed on, `started` until a"
        " worker began, `worker` until its task was finished, `handlers` until the last handler"
        " was. The largest value that can be shown is 1 day.",
        Query(
            "histogram_quantile(0.95, max by (bus, stage, le) (rate("
            f"{BUCKETS}{{{BUS}}}{RATE_INTERVAL})))",
            "{{bus}}: {{stage}}",
        ),
        span=24,
    )
    .unit(units.Seconds)
    .data_links([incidents_page()]),
    heatmap_panel(
        "Delays at the stage $stage",
        "How many messages took how long from the stage before to this one.",
        "sum by (le) (max by (bus, le) (increase("
        f'{BUCKETS}{{{BUS},stage=~"$stage"}}{RATE_INTERVAL})))',
    )
    .span(24)
    .repeat("stage")
    .repeat_direction("h")
    .links([page("busmon: incidents", "incidents")]),
]
