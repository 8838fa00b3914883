"""The lower half of *Bus volume and gaps*: gaps, delivery, faults."""

from grafana_foundation_sdk.models import units
from panels import (
    GREEN,
    NAMESPACE,
    RED,
    Query,
    graph,
    row,
    timeline,
)
from queries import (
    A_MINUTE,
    BUS,
    HOP,
    TOPIC,
    growth,
    named,
    newest,
    pace,
)

UP = {"0": ("down", RED), "1": ("up", GREEN)}

GAPS = [
    row("Gaps"),
    graph(
        "Messages by stage",
        "Messages of closed windows that were to be handled: seen on the bus, passed on by the"
        " listener, finished by a worker. Some minutes behind, since a window is closed after its"
        " end.",
        Query(pace("busmon_audit_messages_total", TOPIC, HOP, "stage"), "{{stage}}"),
        unit=A_MINUTE,
    ),
    graph(
        "Missing by stage and topic",
        "Messages that came by at the stage before, but not at this one.",
        Query(
            named(pace("busmon_audit_missing_total", TOPIC, HOP, "bus, topic, stage")),
            "{{stage}}: {{name}}",
        ),
        unit=A_MINUTE,
        stacked=True,
    ),
    graph(
        "Gap by stage",
        "All that is missing still, of all time: `missing - recovered`. It falls when messages"
        " come after all.",
        Query(
            f"sum by (stage) ({newest('busmon_audit_missing_total', TOPIC, HOP)}"
            f" - {newest('busmon_audit_recovered_total', TOPIC, HOP)})",
            "{{stage}}",
        ),
    ),
    graph(
        "No data, and drifted rules",
        "Windows without data, in which nothing is told missing; and messages that the listener"
        " passed on, though the rules ignore them.",
        Query(
            "sum by (stage)"
            f" ({growth('busmon_audit_no_data_windows_total', BUS, 'bus, stage', '1h')})",
            "windows without data in an hour: {{stage}}",
        ),
        Query(
            f"sum({growth('busmon_audit_unexpected_total', TOPIC, HOP, '1h')})",
            "unexpected messages in an hour",
        ),
    ),
    graph(
        "The listener's own count",
        "By the listener's monitor: what it received, and what it did with it.",
        Query(pace("busmon_listener_messages_total", BUS, "bus, state", "state"), "{{state}}"),
        unit=A_MINUTE,
    ),
    graph(
        "What the tap reports",
        "Passed on, dropped, or raised; and reports that the tap lost.",
        Query(pace("busmon_tap_reports_total", BUS, "bus, state", "state"), "{{state}}"),
        Query(pace("busmon_tap_lost_reports_total", BUS, "bus"), "lost reports"),
        unit=A_MINUTE,
    ),
]

DELIVERY = [
    row("Delivery"),
    graph(
        "Delivery delay",
        "From a message's sending to its receipt by busmon, of messages that say when they were"
        " sent. The longest finite answer is 1 day.",
        *(
            Query(
                f"histogram_quantile({quantile}, sum by (bus, le) (rate("
                f"busmon_message_delay_seconds_bucket{{{BUS}}}[$__rate_interval])))",
                f"{{{{bus}}}}: {words}",
            )
            for quantile, words in ((0.5, "half"), (0.95, "19 of 20"), (0.99, "99 of 100"))
        ),
        unit=units.Seconds,
    ),
    graph(
        "Connections and duplicates",
        "In 5 minutes: lost connections, failed attempts by reason, and messages that came again.",
        Query(
            f"sum by (bus) ({growth('busmon_bus_disconnects_total', BUS, 'bus, reason', '5m')})",
            "{{bus}} lost",
        ),
        Query(
            f"{growth('busmon_bus_connect_failures_total', BUS, 'bus, reason', '5m')} > 0",
            "{{bus}} failed: {{reason}}",
        ),
        Query(growth("busmon_duplicates_total", BUS, "bus", "5m"), "{{bus}} delivered again"),
    ),
    timeline(
        "Faults",
        "What busmon's verdict was. Of several faults the most upstream one.",
        Query(newest("busmon_verdict", f'{NAMESPACE},kind!="none"', "kind"), "{{kind}}"),
        {"0": ("no", GREEN), "1": ("fault", RED)},
        span=12,
    ),
    timeline(
        "What is seen",
        "Whether busmon is connected to the bus, and whether its observers see what they watch.",
        Query(
            f"{newest('busmon_bus_connected', BUS, 'bus')}"
            f" or {newest('busmon_observer_up', BUS, 'bus, observer')}",
            "{{bus}} {{observer}}",
        ),
        UP,
        span=12,
    ),
]
