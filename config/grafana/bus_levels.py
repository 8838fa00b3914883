"""How long messages take, in *Bus volume and gaps*: delays by stage, and service levels."""

from grafana_foundation_sdk.builders.dashboard import Row
from grafana_foundation_sdk.models import units
from panels import RATE_INTERVAL, Query, graph_panel
from queries import BUS, current, increase

MISSED_6H = increase("busmon_slo_messages_total", BUS + ',within="false"', "bus, slo", "6h")
UNKNOWN_6H = increase("busmon_slo_messages_total", BUS + ',within="unknown"', "bus, slo", "6h")
JUDGED_6H = increase(
    "busmon_slo_messages_total", BUS + ',within!="unknown"', "bus, slo, within", "6h"
)

LEVELS = [
    Row("Delays and service levels"),
    graph_panel(
        "Delays by stage",
        "The time in which 95 % of the messages came from each stage to the next: `bus` from"
        " sending to busmon, `listener` from there until it was passed on, `started` until a"
        " worker began, `worker` until its task was finished, `handlers` until the last handler"
        " was.",
        Query(
            "histogram_quantile(0.95, max by (bus, stage, le) (rate("
            f"busmon_stage_delay_seconds_bucket{{{BUS}}}{RATE_INTERVAL})))",
            "{{bus}}: {{stage}}",
        ),
    ).unit(units.Seconds),
    graph_panel(
        "Service levels",
        "Of the messages of each service level in 6 hours, the share that was in time, beside the"
        " objective. Messages of which nobody knows are not in it, but in the third line.",
        Query(
            f"1 - {MISSED_6H} / sum by (bus, slo) ({JUDGED_6H})",
            "{{slo}}: in time",
        ),
        Query(current("busmon_slo_objective", BUS, "bus, slo"), "{{slo}}: objective"),
        Query(
            f"{UNKNOWN_6H} / (sum by (bus, slo) ({JUDGED_6H}) + {UNKNOWN_6H})",
            "{{slo}}: unknown",
        ),
    )
    .unit(units.PercentUnit)
    .max(1),
]
