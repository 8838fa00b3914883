"""The lower half of *Bus volume and gaps*: gaps, delivery, the verdict over time."""

from grafana_foundation_sdk.builders.dashboard import Row
from grafana_foundation_sdk.models import units
from panels import (
    GREEN,
    NAMESPACE,
    PER_MINUTE,
    RATE_INTERVAL,
    RED,
    Query,
    graph_panel,
    label,
    page,
    timeline_panel,
    topic_page,
)
from queries import (
    BUS,
    GROWING,
    MESSAGE_LABELS,
    STAGE_LABELS,
    TOPIC,
    current,
    increase,
    per_minute,
    with_short_topic,
)

QUANTILES = {0.5: "median", 0.95: "95th percentile", 0.99: "99th percentile"}
NO_DATA_1H = increase("busmon_audit_no_data_windows_total", BUS, "bus, stage", "1h")
UNEXPECTED_1H = increase("busmon_audit_unexpected_total", GROWING, STAGE_LABELS, "1h")
SEEN_BY_LISTENER = GROWING + ',outcome!="invalid"'
DIFFERENCES = current("busmon_archive_difference_messages", TOPIC, "bus, topic, side")
FILLED = increase("busmon_archive_filled_messages_total", GROWING, "bus, topic, outcome", "1h")
FILLED_1H = f'label_replace(sum by (bus, topic) ({FILLED}), "side", "filled", "", "")'
DISCONNECTS = increase("busmon_bus_disconnects_total", BUS, "bus, reason", "5m")

GAPS = [
    Row("Gaps"),
    graph_panel(
        "Messages by stage",
        "Messages to be handled, of closed windows: received from the bus, passed on by the"
        " listener, finished by a worker, and by all handlers. Some minutes late, since a window"
        " is closed after its end.",
        Query(
            per_minute("busmon_audit_messages_total", GROWING, STAGE_LABELS, "stage"), "{{stage}}"
        ),
    ).unit(PER_MINUTE),
    graph_panel(
        "Open gaps by stage and topic",
        "Messages that reached the stage before, but not this one, and that nobody has recovered"
        " or accepted. The alerts are about these.",
        Query(
            with_short_topic(f"{current('busmon_open_gap_messages', TOPIC, STAGE_LABELS)} > 0"),
            "{{stage}}: {{name}}",
        ),
        stacked=True,
    ).data_links(
        [
            page(
                "busmon: these gaps",
                "gaps",
                bus=label("bus"),
                topic=label("topic"),
                stage=label("stage"),
            )
        ]
    ),
    graph_panel(
        "Missing and recovered messages",
        "When messages were found missing, and when missing ones reached their stage after all.",
        Query(
            per_minute("busmon_audit_missing_total", GROWING, STAGE_LABELS, "stage"),
            "missing: {{stage}}",
        ),
        Query(
            per_minute("busmon_audit_recovered_total", GROWING, STAGE_LABELS, "stage"),
            "recovered: {{stage}}",
        ),
    ).unit(PER_MINUTE),
    graph_panel(
        "Unconfirmed and unexpected messages",
        "*Unconfirmed* are messages of windows without data: nobody knows whether they reached the"
        " stage. *Unexpected* are those that busmon's rule set ignores, but the listener passed on:"
        " the rule set is out of date.",
        Query(
            f"sum by (stage) ({current('busmon_unconfirmed_messages', BUS, 'bus, stage')})",
            "unconfirmed: {{stage}}",
        ),
        Query(f"sum by (stage) ({NO_DATA_1H})", "windows without data in an hour: {{stage}}"),
        Query(f"sum({UNEXPECTED_1H})", "unexpected in an hour"),
    ),
    graph_panel(
        "Listener's own counts beside busmon's",
        "What the listener's monitor says that it received, and did, beside the messages that"
        " busmon received. Rejected ones (`invalid`) are in neither line. The lines lie on each"
        " other if the listener receives all. With other bindings than busmon's they cannot.",
        Query(
            per_minute("busmon_messages_total", SEEN_BY_LISTENER, MESSAGE_LABELS, "bus"),
            "busmon, {{bus}}: received",
        ),
        Query(
            per_minute("busmon_listener_messages_total", BUS, "bus, state", "bus, state"),
            "listener, {{bus}}: {{state}}",
        ),
        span=8,
    ).unit(PER_MINUTE),
    graph_panel(
        "Tap reports by state",
        "Messages by what the listener did, as its tap reports: passed on, dropped, or raised an"
        " exception; and reports that the tap lost.",
        Query(per_minute("busmon_tap_reports_total", BUS, "bus, state", "state"), "{{state}}"),
        Query(per_minute("busmon_tap_lost_reports_total", BUS, "bus"), "lost reports"),
        span=8,
    ).unit(PER_MINUTE),
    graph_panel(
        "Listener's queue",
        "As the broker says it once a minute. 0 of *there*: the queue is gone. 0 consumers: no"
        " listener. An exclusive queue has no numbers: it is there while its connection lives.",
        Query(current("busmon_listener_queue_up", BUS, "bus, queue"), "there: {{bus}}"),
        Query(current("busmon_listener_queue_consumers", BUS, "bus, queue"), "consumers: {{bus}}"),
        Query(
            current("busmon_listener_queue_messages", BUS, "bus, queue"),
            "messages waiting: {{bus}}",
        ),
        span=8,
    ),
    graph_panel(
        "Tasks of the workers",
        "What happened to tasks, by Celery's events. Tasks that are counted by name include those"
        " of webhooks.",
        Query(
            per_minute("busmon_celery_task_events_total", NAMESPACE, "event, task", "event"),
            "{{event}}",
        ),
    ).unit(PER_MINUTE),
    graph_panel(
        "Failed tasks by name",
        "A message of which a task failed is open at the stage `handlers`, until the task is done.",
        Query(
            per_minute(
                "busmon_celery_task_events_total",
                f'{NAMESPACE},event="failed"',
                "event, task",
                "task",
            ),
            "{{task}}",
        ),
        stacked=True,
    ).unit(PER_MINUTE),
]

DELIVERY = [
    Row("Delivery"),
    graph_panel(
        "Delivery delay",
        "The time from the sending of a message to its receipt by busmon, for messages that say"
        " when they were sent. The largest value that can be shown is 1 day.",
        *(
            Query(
                f"histogram_quantile({quantile}, max by (bus, le) (rate("
                f'busmon_stage_delay_seconds_bucket{{{BUS},stage="bus"}}{RATE_INTERVAL})))',
                f"{{{{bus}}}}: {name}",
            )
            for quantile, name in QUANTILES.items()
        ),
    ).unit(units.Seconds),
    graph_panel(
        "Lost connections and duplicates",
        "In 5 minutes: lost connections, failed attempts to connect by reason, and messages that"
        " were delivered again.",
        Query(f"sum by (bus) ({DISCONNECTS})", "{{bus}}: lost connections"),
        Query(
            f"{increase('busmon_bus_connect_failures_total', BUS, 'bus, reason', '5m')} > 0",
            "{{bus}}: failed attempts, {{reason}}",
        ),
        Query(increase("busmon_duplicates_total", BUS, "bus", "5m"), "{{bus}}: duplicates"),
    ),
    graph_panel(
        "Messages that only one side has",
        "With [archive]. Of the last day that was compared: messages that only the archive has,"
        " which busmon lost, and that only busmon has (ours), which proves nothing. filled: what"
        " busmon fetched of its blind times, in an hour.",
        Query(with_short_topic(f"{DIFFERENCES} or {FILLED_1H}"), "{{name}}: {{side}}"),
        span=24,
    ).data_links([topic_page()]),
    timeline_panel(
        "Verdict over time",
        "Whose fault it was on each bus. Of several faults, the verdict is the most upstream one.",
        Query(current("busmon_verdict", f'{BUS},kind!="none"', "bus, kind"), "{{bus}}: {{kind}}"),
        {"0": ("no", GREEN), "1": ("fault", RED)},
    ).data_links([page("busmon: incidents", "incidents", bus=label("bus"))]),
    timeline_panel(
        "Connections and observers",
        "Whether busmon is connected to the bus, and whether each observer sees what it watches.",
        Query(
            f"{current('busmon_bus_connected', BUS, 'bus')}"
            f" or {current('busmon_observer_up', BUS, 'bus, observer')}",
            "{{bus}} {{observer}}",
        ),
        {"0": ("down", RED), "1": ("up", GREEN)},
    ),
]
