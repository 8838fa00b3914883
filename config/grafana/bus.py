"""The dashboard *Bus volume and gaps*: what the buses bring, and what becomes of it."""

from bus_gaps import DELIVERY, GAPS
from bus_levels import LEVELS
from grafana_foundation_sdk.builders.dashboard import Row
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import BigValueTextMode
from grafana_foundation_sdk.models.dashboard import Dashboard
from panels import (
    GREEN,
    GREY,
    NAMESPACE,
    ONE_IS_WELL,
    PER_MINUTE,
    RED,
    YELLOW,
    ZERO_IS_WELL,
    Column,
    Query,
    add_panels,
    annotation,
    column,
    graph_panel,
    label,
    new_dashboard,
    page,
    stat_panel,
    table_panel,
    topic_page,
    value_texts,
    variable,
)
from queries import (
    BUS,
    GROWING,
    MESSAGE_LABELS,
    STAGE_LABELS,
    TOPIC,
    current,
    increase,
    others_per_minute,
    per_minute,
    with_short_topic,
)

FAULT = current("busmon_verdict", f'{BUS},kind!="none"', "bus, kind") + " == 1"
ALL_IS_WELL = current("busmon_verdict", f'{BUS},kind="none"', "bus, kind") + " == 1"
OLDEST = f"busmon_open_gap_oldest_timestamp_seconds{{{BUS}}}"
EXPECTED = current("busmon_topic_expected_since_last_messages", TOPIC, "bus, topic")
LIMIT = current("busmon_topic_silence_limit_messages", TOPIC, "bus, topic")
LAST_MESSAGE = current("busmon_last_message_timestamp_seconds", TOPIC, "bus, topic")
BASELINE_READY = current("busmon_topic_baseline_ready", TOPIC, "bus, topic")
MESSAGES = increase("busmon_messages_total", GROWING, MESSAGE_LABELS)
MESSAGES_1H = increase("busmon_messages_total", GROWING, MESSAGE_LABELS, "1h")
HANDLED = GROWING + ',outcome="handled"'
HANDLED_1H = increase("busmon_messages_total", HANDLED, MESSAGE_LABELS, "1h")
PROCESSED = others_per_minute("events_processed_total")
WEBHOOKS = others_per_minute("github_webhook_calls_total", NAMESPACE + ',result="accepted"')
PROCESS_MESSAGE = 'task="task.steve_jobs.process_message"'

AT_A_GLANCE = [
    # Times 0, a verdict other than "none" is below the green step.
    stat_panel(
        "Verdict: whose fault",
        "Whose fault it is on each bus, by busmon's verdict. Of several faults, it names the"
        " most upstream one. `busmon status` and busmon's own page give the evidence.",
        Query(
            f'0 * ({FAULT}) or label_replace({ALL_IS_WELL}, "kind", "all is well", "", "")',
            "{{bus}}: {{kind}}",
        ),
        steps=ONE_IS_WELL,
        span=5,
    )
    .text_mode(BigValueTextMode.NAME)
    .no_value("busmon does not answer"),
    stat_panel(
        "Connected",
        "Whether busmon itself is connected and subscribed to the bus. While it is not, it"
        " cannot see gaps.",
        Query(current("busmon_bus_connected", BUS, "bus"), "{{bus}}"),
        steps=ONE_IS_WELL,
        span=4,
    ).mappings([value_texts({"0": ("no", RED), "1": ("yes", GREEN)})]),
    stat_panel(
        "Blind time",
        "How long busmon did not receive from the bus, in the time range shown.",
        Query(increase("busmon_blind_seconds_total", BUS, "bus"), "{{bus}}"),
        steps=[(None, GREY), (0, GREEN), (30, YELLOW), (300, RED)],
        span=4,
    ).unit(units.Seconds),
    stat_panel(
        "Silent topics",
        "Topics that have been silent for longer than usual. The table *Topics* below names them.",
        Query(f"sum({current('busmon_topic_silent', TOPIC, 'bus, topic')})", "silent"),
        steps=ZERO_IS_WELL,
        span=3,
    ).data_links([page("busmon: silent topics", "topics", state="silent")]),
    stat_panel(
        "Open gaps: messages",
        "Messages that did not reach the listener, the workers or their handlers, and that nobody"
        " has recovered or accepted, however old they are. `busmon gaps` lists them. Not audited:"
        " there is no tap.",
        Query(
            f"sum by (stage) ({current('busmon_open_gap_messages', TOPIC, STAGE_LABELS)})",
            "{{stage}}",
        ),
        steps=ZERO_IS_WELL,
        span=5,
    )
    .no_value("not audited")
    .data_links([page("busmon: these gaps", "gaps", stage=label("stage"))]),
    stat_panel(
        "Oldest open gap",
        "How long ago the oldest window with an open gap began.",
        Query(f"time() - min({OLDEST})", ""),
        steps=[(None, GREY), (0, RED)],
        span=3,
    )
    .unit(units.Seconds)
    .no_value("none"),
]

VOLUME = [
    Row("Volume"),
    graph_panel(
        "Messages by topic",
        "The messages that busmon received, of every outcome. Those of further unknown topics"
        " (`__other__`) are in no graph: their count jumps when a topic no longer comes.",
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
        "Bus volume and processed events",
        "The messages that the listener should pass on, beside what other programs count."
        " events_processed_total of Packit's push gateway includes the webhooks of GitHub,"
        " GitLab and Testing Farm, so the difference is not a gap. If"
        " github_webhook_calls_total is scraped, a second line subtracts the accepted calls of"
        " GitHub. The tasks that Celery and Flower count include webhooks, too. The variables"
        " for bus and topic have no effect on the counters of other programs.",
        Query(per_minute("busmon_messages_total", HANDLED, MESSAGE_LABELS), "to be handled (bus)"),
        Query(
            per_minute("busmon_tap_reports_total", BUS + ',state="passed"', "bus"),
            "passed on (tap)",
        ),
        Query(
            per_minute(
                "busmon_celery_task_events_total",
                f'{NAMESPACE},{PROCESS_MESSAGE},event="received"',
                "task",
            ),
            "tasks received (Celery's events)",
        ),
        Query(
            others_per_minute(
                "flower_events_total", f'{NAMESPACE},{PROCESS_MESSAGE},type="task-received"'
            ),
            "tasks received (Flower)",
        ),
        Query(PROCESSED, "events processed, with webhooks"),
        Query(
            f"clamp_min({PROCESSED} - {WEBHOOKS}, 0)", "events processed, without GitHub's webhooks"
        ),
    ).unit(PER_MINUTE),
    graph_panel(
        "Messages by bus",
        "The messages that busmon received, without `__other__`.",
        Query(per_minute("busmon_messages_total", GROWING, MESSAGE_LABELS, "bus"), "{{bus}}"),
        stacked=True,
    ).unit(PER_MINUTE),
    graph_panel(
        "Messages by outcome and reason",
        "What the listener should do with the messages, by its rule set. The listener never sees"
        " `invalid` messages. `error` messages can kill it.",
        Query(
            per_minute("busmon_messages_total", GROWING, MESSAGE_LABELS, "outcome, reason"),
            "{{outcome}} {{reason}}",
        ),
        stacked=True,
    ).unit(PER_MINUTE),
    graph_panel(
        "Handled share by topic",
        "The share of the last hour's messages that the listener should pass on. If a share"
        " collapses, a filter is wrong, or the messages have changed.",
        Query(
            with_short_topic(
                f"sum by (bus, topic) ({HANDLED_1H}) / (sum by (bus, topic) ({MESSAGES_1H}) > 0)"
            ),
            "{{name}}",
        ),
    )
    .unit(units.PercentUnit)
    .max(1)
    .data_links([topic_page()]),
]

SILENCE = [
    Row("Silence"),
    graph_panel(
        "Expected messages, as a share of the silence limit",
        "The messages that should have come since the topic's last one, as a share of the limit"
        " of its baseline. Above 100 % the topic is silent. Topics without a baseline are not"
        " shown.",
        Query(with_short_topic(f"{EXPECTED} / {LIMIT}"), "{{name}}"),
        span=24,
        threshold=1,
    )
    .unit(units.PercentUnit)
    .data_links([topic_page()]),
    table_panel(
        "Topics",
        "The state of each topic. *Last message* is the time since busmon received it. A topic"
        " that is *retired* no longer has to come: it has no limit and no baseline.",
        {
            "Silent": Column(
                current("busmon_topic_silent", TOPIC, "bus, topic"),
                steps=ZERO_IS_WELL,
                texts={"0": ("no", GREEN), "1": ("SILENT", RED)},
            ),
            "Last message": Column(f"time() - {LAST_MESSAGE}", units.Seconds),
            "Messages": Column(f"round(sum by (bus, topic) ({MESSAGES}))"),
            "Expected since": Column(EXPECTED),
            "Limit": Column(LIMIT),
            "Baseline": Column(
                BASELINE_READY, texts={"0": ("not yet", "text"), "1": ("ready", "text")}
            ),
            "Retired": Column(
                current("busmon_topic_retired", TOPIC, "bus, topic"),
                texts={"0": ("later", "text"), "1": ("retired", "text")},
            ),
        },
    ).data_links([topic_page(column("bus"), column("topic"))]),
]

ANNOTATIONS = [
    annotation("Verdict", FAULT, "{{bus}}: verdict: {{kind}}", "red"),
    annotation(
        "Disconnected bus",
        current("busmon_bus_connected", BUS, "bus") + " == 0",
        "{{bus}} disconnected",
        "orange",
    ),
    annotation(
        "Silent topic",
        current("busmon_topic_silent", TOPIC, "bus, topic") + " == 1",
        "{{topic}} silent",
        "purple",
    ),
    annotation(
        "Start of busmon",
        f"(time() - process_start_time_seconds{{{NAMESPACE}}} < 60)"
        " and on (job, instance) busmon_build_info",
        "busmon started: {{instance}}",
        "blue",
    ),
]


def build() -> Dashboard:
    """Return the dashboard."""
    made = new_dashboard(
        "Bus volume and gaps",
        "busmon-bus",
        "What the message buses bring, and what becomes of it. The top row shows whether all is"
        " well.",
        [
            variable("namespace", "Namespace", "busmon_build_info"),
            variable("bus", "Bus", f"busmon_bus_connected{{{NAMESPACE}}}"),
            variable("topic", "Topic", f'busmon_messages_total{{{BUS},topic!="__other__"}}'),
        ],
    ).annotations(ANNOTATIONS)
    add_panels(made, [*AT_A_GLANCE, *VOLUME, *SILENCE, *GAPS, *LEVELS, *DELIVERY])
    return made.build()
