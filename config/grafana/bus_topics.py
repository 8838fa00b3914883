"""What no longer comes, and what comes, in *Bus volume and gaps*."""

from grafana_foundation_sdk.builders.dashboard import Row
from grafana_foundation_sdk.models import units
from links import OVERVIEW, column, topic_page, topics_page
from panels import (
    GREEN,
    PER_MINUTE,
    RED,
    YELLOW,
    ZERO_IS_WELL,
    Column,
    Place,
    Query,
    graph_panel,
    table_panel,
)
from queries import (
    BUSMON,
    EVENTS_PROCESSED,
    GROWING,
    HALF_A_WINDOW,
    MESSAGE_LABELS,
    NAMESPACE,
    STAGE_LABELS,
    TOPIC,
    current,
    increase,
    others_per_minute,
    per_minute,
    with_short_topic,
)

SILENCE_RATIO = current("busmon_topic_silence_ratio", TOPIC, "bus, topic")
LAST_MESSAGE = current("busmon_last_message_timestamp_seconds", TOPIC, "bus, topic")
OPEN_GAPS = current("busmon_open_gap_messages", TOPIC, STAGE_LABELS)
MESSAGES = increase("busmon_messages_total", GROWING, MESSAGE_LABELS)
MESSAGES_1H = increase("busmon_messages_total", GROWING, MESSAGE_LABELS, "1h")
HANDLED = GROWING + ',outcome="handled"'
HANDLED_1H = increase("busmon_messages_total", HANDLED, MESSAGE_LABELS, "1h")
PROCESS_MESSAGE = 'task="task.steve_jobs.process_message"'

SILENCE: list[Place] = [
    Row("Silence"),
    graph_panel(
        "Silence, as a share of its limit",
        "How long each topic has been silent, as a share of its limit: what is usual for it, or a"
        " fixed time. Above 100 % it is silent, and above 140 % that is hardly by chance. Topics"
        " without a limit are not shown.",
        Query(with_short_topic(SILENCE_RATIO), "{{name}}"),
        span=24,
        limits=[(1, YELLOW), (1.4, RED)],
    )
    .unit(units.PercentUnit)
    .data_links([topic_page()]),
    table_panel(
        "Topics",
        "The state of each topic. *Silence* is a share of its limit, *Last message* the time since"
        " busmon received it, *Messages* those in the time range shown. A topic is *low* if far"
        " fewer messages than usual come. One that is *retired* no longer has to come.",
        {
            "Silent": Column(
                current("busmon_topic_silent", TOPIC, "bus, topic"),
                steps=ZERO_IS_WELL,
                texts={"0": ("no", GREEN), "1": ("SILENT", RED)},
            ),
            "Silence": Column(SILENCE_RATIO, units.PercentUnit),
            "Last message": Column(f"time() - {LAST_MESSAGE}", units.Seconds),
            "Messages": Column(f"round(sum by (bus, topic) ({MESSAGES}))"),
            "Volume": Column(
                current("busmon_topic_low", TOPIC, "bus, topic"),
                texts={"0": ("usual", "text"), "1": ("LOW", RED)},
            ),
            "Open gaps": Column(f"sum by (bus, topic) ({OPEN_GAPS})"),
            "Baseline": Column(
                current("busmon_topic_baseline_ready", TOPIC, "bus, topic"),
                texts={"0": ("not yet", "text"), "1": ("ready", "text")},
            ),
            "Retired": Column(
                current("busmon_topic_retired", TOPIC, "bus, topic"),
                texts={"0": ("later", "text"), "1": ("retired", "text")},
            ),
        },
    ).data_links([topic_page(column("bus"), column("topic"))]),
]

VOLUME: list[Place] = [
    Row("Volume"),
    graph_panel(
        "Messages by topic",
        "The messages that busmon received, of every outcome. Those of further unknown topics"
        " (`__other__`) are in no graph: their count jumps when a topic no longer comes. What only"
        " the archive had is not in it.",
        Query(
            with_short_topic(
                per_minute("busmon_messages_total", GROWING, MESSAGE_LABELS, "bus, topic")
            ),
            "{{name}}",
        ),
        span=24,
        stacked=True,
    )
    .unit(PER_MINUTE)
    .data_links([topic_page()]),
    graph_panel(
        "Messages by outcome and reason",
        "What the listener should do with the messages, by its rule set. The listener never sees"
        " `invalid` messages. `error` messages can kill it.",
        Query(
            per_minute("busmon_messages_total", GROWING, MESSAGE_LABELS, "bus, outcome, reason"),
            "{{bus}}: {{outcome}} {{reason}}",
        ),
        span=8,
        stacked=True,
    )
    .unit(PER_MINUTE)
    .data_links([topics_page()]),
    graph_panel(
        "Handled share by topic",
        "The share of the last hour's messages that the listener should pass on. If a share"
        " falls, a filter is wrong, or the messages have changed.",
        Query(
            with_short_topic(
                f"sum by (bus, topic) ({HANDLED_1H}) / (sum by (bus, topic) ({MESSAGES_1H}) > 0)"
            ),
            "{{name}}",
        ),
        span=8,
    )
    .unit(units.PercentUnit)
    .max(1)
    .data_links([topic_page()]),
    graph_panel(
        "Packit's own counts",
        "The messages that the listener should pass on, beside what Packit counts. All of its"
        " counts include webhooks: the tasks by Celery's events and by Flower, and the events by"
        " the push gateway, from which the last line subtracts the accepted webhooks of GitHub."
        " The variables for bus and topic have no effect on them.",
        *(
            Query(expr, legend, HALF_A_WINDOW)
            for legend, expr in {
                "to be handled (bus)": per_minute("busmon_messages_total", HANDLED, MESSAGE_LABELS),
                "tasks received (Celery's events)": per_minute(
                    "busmon_celery_task_events_total",
                    f'{BUSMON},{PROCESS_MESSAGE},event="received"',
                    "task",
                ),
                "tasks received (Flower)": others_per_minute(
                    "flower_events_total", f'{NAMESPACE},{PROCESS_MESSAGE},type="task-received"'
                ),
                "events processed": others_per_minute("events_processed_total"),
                "events processed, without GitHub's webhooks": EVENTS_PROCESSED,
            }.items()
        ),
        span=8,
    )
    .unit(PER_MINUTE)
    .links([OVERVIEW]),
]
