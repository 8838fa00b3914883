"""Where messages get stuck, in *Bus volume and gaps*: connections, listener, workers, archive."""

from grafana_foundation_sdk.builders.dashboard import Row
from links import OVERVIEW, incidents_page, topic_page, topics_page
from panels import GREEN, PER_MINUTE, RED, Place, Query, graph_panel, timeline_panel
from queries import (
    BUS,
    BUSMON,
    GROWING,
    MESSAGE_LABELS,
    TOPIC,
    current,
    increase,
    per_minute,
    with_short_topic,
)

SEEN_BY_LISTENER = GROWING + ',outcome!="invalid"'
DIFFERENCES = current("busmon_archive_difference_messages", TOPIC, "bus, topic, side")
FILLED = increase("busmon_archive_filled_messages_total", GROWING, "bus, topic, outcome", "1h")
FILLED_1H = f'label_replace(sum by (bus, topic) ({FILLED}), "side", "filled", "", "")'
DISCONNECTS = increase("busmon_bus_disconnects_total", BUS, "bus, reason", "5m")

DELIVERY: list[Place] = [
    Row("Delivery"),
    timeline_panel(
        "Verdict over time",
        "Whose fault it was on each bus. Of several faults, the verdict is the most upstream one.",
        Query(current("busmon_verdict", f'{BUS},kind!="none"', "bus, kind"), "{{bus}}: {{kind}}"),
        {"0": ("no", GREEN), "1": ("fault", RED)},
    ).data_links([incidents_page()]),
    timeline_panel(
        "Connections and observers",
        "Whether busmon is connected to the bus, and whether each observer sees what it watches.",
        Query(
            f"{current('busmon_bus_connected', BUS, 'bus')}"
            f" or {current('busmon_observer_up', BUS, 'bus, observer')}",
            "{{bus}} {{observer}}",
        ),
        {"0": ("down", RED), "1": ("up", GREEN)},
    ).data_links([incidents_page()]),
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
    )
    .unit(PER_MINUTE)
    .data_links([topics_page()]),
    graph_panel(
        "Tap reports by state",
        "Messages by what the listener did, as its tap reports: passed on, dropped, or raised an"
        " exception; and reports that the tap lost.",
        Query(
            per_minute("busmon_tap_reports_total", BUS, "bus, state", "bus, state"),
            "{{bus}}: {{state}}",
        ),
        Query(
            per_minute("busmon_tap_lost_reports_total", BUS, "bus", "bus"), "{{bus}}: lost reports"
        ),
        span=8,
    )
    .unit(PER_MINUTE)
    .data_links([topics_page()]),
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
    ).data_links([incidents_page()]),
    graph_panel(
        "Tasks that wait",
        "Tasks in each queue of the workers, without those that a worker has already fetched.",
        Query(f"max by (queue) (busmon_celery_queue_tasks{{{BUSMON}}})", "{{queue}}"),
        span=8,
    ).links([OVERVIEW]),
    graph_panel(
        "Failed tasks by name",
        "By Celery's events. A message of which a task failed is missing at the stage `handlers`,"
        " until the task is done.",
        Query(
            per_minute(
                "busmon_celery_task_events_total",
                f'{BUSMON},event="failed"',
                "event, task",
                "task",
            ),
            "{{task}}",
        ),
        span=8,
        stacked=True,
    )
    .unit(PER_MINUTE)
    .links([OVERVIEW]),
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
        span=8,
    ).data_links([incidents_page()]),
    graph_panel(
        "Messages that only one side has",
        "With [archive]. Of the last day that was compared: messages that only the archive has,"
        " which busmon lost, and that only busmon has (ours), which proves nothing. filled: what"
        " busmon fetched of its blind times, in an hour.",
        Query(with_short_topic(f"{DIFFERENCES} or {FILLED_1H}"), "{{name}}: {{side}}"),
        span=24,
    ).data_links([topic_page()]),
]
