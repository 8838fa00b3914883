"""The dashboard *Bus volume and gaps*: what the buses bring, and what becomes of it."""

from bus_gaps import DELIVERY, GAPS
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard
from panels import (
    GREEN,
    GREY,
    NAMESPACE,
    RED,
    YELLOW,
    Query,
    annotation,
    board,
    columns,
    graph,
    row,
    summary,
    variable,
)
from queries import (
    A_MINUTE,
    BUS,
    HOP,
    SERIES,
    TOPIC,
    foreign,
    growth,
    named,
    newest,
    pace,
)

RIGHT, WRONG = [(None, GREY), (0, GREEN), (1, RED)], [(None, RED), (1, GREEN)]

FAULT = newest("busmon_verdict", f'{NAMESPACE},kind!="none"', "kind") + " == 1"
WELL = newest("busmon_verdict", f'{NAMESPACE},kind="none"', "kind") + " == 1"
MISSING = growth("busmon_audit_missing_total", TOPIC, HOP)
RECOVERED = growth("busmon_audit_recovered_total", TOPIC, HOP)
EXPECTED = newest("busmon_topic_expected_since_last_messages", TOPIC, "bus, topic")
LIMIT = newest("busmon_topic_silence_limit_messages", TOPIC, "bus, topic")
HANDLED = TOPIC + ',outcome="handled"'
PROCESSED = foreign("events_processed_total")
WEBHOOKS = foreign("github_webhook_calls_total", NAMESPACE + ',result="accepted"')
RECEIVED = '{0},task="task.steve_jobs.process_message",{1}'

AT_A_GLANCE = [
    summary(
        "Whose fault",
        "The verdict of busmon: the most upstream of all faults. `busmon status` and busmon's"
        " own page give the evidence.",
        Query(f'0 * ({FAULT}) or label_replace({WELL}, "kind", "all is well", "", "")', "{{kind}}"),
        steps=WRONG,
        span=5,
        names=True,
        none="busmon does not answer",
    ),
    summary(
        "Connected",
        "Whether busmon itself is connected and subscribed. While it is not, it sees no gap.",
        Query(newest("busmon_bus_connected", BUS, "bus"), "{{bus}}"),
        steps=WRONG,
        span=5,
        words={"0": ("cut", RED), "1": ("yes", GREEN)},
    ),
    summary(
        "Blind",
        "How long, in the time shown, busmon did not receive from the bus.",
        Query(growth("busmon_blind_seconds_total", BUS, "bus"), "{{bus}}"),
        steps=[(None, GREY), (0, GREEN), (30, YELLOW), (300, RED)],
        span=5,
        unit=units.Seconds,
    ),
    summary(
        "Silent topics",
        "Topics that have been silent for longer than chance allows; the table below names them.",
        Query(f"sum({newest('busmon_topic_silent', TOPIC, 'bus, topic')})", "silent"),
        steps=RIGHT,
        span=3,
    ),
    summary(
        "Gaps: messages missing",
        "Missing at the listener or at the workers, in the windows closed in the time shown,"
        " less those that came after all. `busmon gaps` lists them. No data where neither a tap"
        " reports nor the listener's monitor is asked.",
        Query(f"round(clamp_min(sum by (stage) ({MISSING} - {RECOVERED}), 0))", "{{stage}}"),
        steps=RIGHT,
        span=6,
        none="not audited",
    ),
]

VOLUME = [
    row("Volume"),
    graph(
        "Messages by topic",
        "All messages that busmon received, whatever its rules make of them.",
        Query(named(pace("busmon_messages_total", TOPIC, SERIES, "bus, topic")), "{{name}}"),
        unit=A_MINUTE,
        span=24,
        stacked=True,
    ),
    graph(
        "Bus volume against processed events",
        "What the listener should pass on, beside what others count. events_processed_total of"
        " Packit's gateway mixes in the webhooks of GitHub, GitLab and Testing Farm, so it is no"
        " measure of a gap; where github_webhook_calls_total is scraped, the accepted calls are"
        " subtracted in a line of their own. The tasks that Celery and Flower see include the"
        " webhooks, too. The variables for bus and topic do not hold for others' counters.",
        Query(pace("busmon_messages_total", HANDLED, SERIES), "to be handled, on the bus"),
        Query(
            pace("busmon_tap_reports_total", BUS + ',state="passed"', "bus"),
            "passed on, by the tap",
        ),
        Query(
            pace(
                "busmon_celery_task_events_total",
                RECEIVED.format(NAMESPACE, 'event="received"'),
                "task",
            ),
            "tasks received, by Celery's events",
        ),
        Query(
            foreign("flower_events_total", RECEIVED.format(NAMESPACE, 'type="task-received"')),
            "tasks received, by Flower",
        ),
        Query(PROCESSED, "events processed, webhooks included"),
        Query(
            f"clamp_min({PROCESSED} - {WEBHOOKS}, 0)", "events processed, less GitHub's webhooks"
        ),
        unit=A_MINUTE,
    ),
    graph(
        "Messages by bus",
        "All messages that busmon received.",
        Query(pace("busmon_messages_total", TOPIC, SERIES, "bus"), "{{bus}}"),
        unit=A_MINUTE,
        stacked=True,
    ),
    graph(
        "Handled or not, and why",
        "What the listener's rules make of the messages. `invalid` ones it never sees, `error`"
        " ones can kill it.",
        Query(
            pace("busmon_messages_total", TOPIC, SERIES, "outcome, reason"),
            "{{outcome}} {{reason}}",
        ),
        unit=A_MINUTE,
        stacked=True,
    ),
    graph(
        "Handled share by topic",
        "The part of the last hour's messages that the listener should pass on. A share that"
        " collapses tells of a filter gone wrong, or of a new shape of messages.",
        Query(
            named(
                f"sum by (bus, topic) ({growth('busmon_messages_total', HANDLED, SERIES, '1h')})"
                " / (sum by (bus, topic)"
                f" ({growth('busmon_messages_total', TOPIC, SERIES, '1h')}) > 0)"
            ),
            "{{name}}",
        ),
        unit=units.PercentUnit,
        most=1,
    ),
]

SILENCE = [
    row("Silence"),
    graph(
        "Silence against expectation",
        "The messages that should have come since the topic's last one, as a part of what chance"
        " allows. Above 100 % the topic is silent. Only topics whose usual rate is known.",
        Query(named(f"{EXPECTED} / {LIMIT}"), "{{name}}"),
        unit=units.PercentUnit,
        span=24,
        limit=1,
    ),
    columns(
        "Topics",
        "The state of each topic; the time since its last message is that of the last receipt.",
        {
            "Silent": (newest("busmon_topic_silent", TOPIC, "bus, topic"), units.Short),
            "Last message": (
                f"time() - {newest('busmon_last_message_timestamp_seconds', TOPIC, 'bus, topic')}",
                units.Seconds,
            ),
            "Messages": (
                f"round(sum by (bus, topic) ({growth('busmon_messages_total', TOPIC, SERIES)}))",
                units.Short,
            ),
            "Expected since": (EXPECTED, units.Short),
            "Limit": (LIMIT, units.Short),
            "Usual rate": (
                newest("busmon_topic_baseline_ready", TOPIC, "bus, topic"),
                units.Short,
            ),
        },
        coloured={"Silent": RIGHT},
        words={
            "Silent": {"0": ("no", GREEN), "1": ("SILENT", RED)},
            "Usual rate": {"0": ("not known yet", "text"), "1": ("known", "text")},
        },
    ),
]

ANNOTATIONS = [
    annotation("Fault", FAULT, "fault: {{kind}}", "red"),
    annotation(
        "Bus cut",
        newest("busmon_bus_connected", BUS, "bus") + " == 0",
        "{{bus}} disconnected",
        "orange",
    ),
    annotation(
        "Silent topic",
        newest("busmon_topic_silent", TOPIC, "bus, topic") + " == 1",
        "{{topic}} silent",
        "purple",
    ),
    annotation(
        "Restart of busmon",
        f"(time() - process_start_time_seconds{{{NAMESPACE}}} < 60)"
        " and on (job, instance) busmon_build_info",
        "busmon started: {{instance}}",
        "blue",
    ),
]


def build() -> Dashboard:
    """Return the dashboard."""
    return board(
        "Bus volume and gaps",
        "busmon-bus",
        "What the message buses bring, and what becomes of it. Top row: is all well?",
        [
            variable("namespace", "Namespace", "busmon_build_info"),
            variable("bus", "Bus", f"busmon_bus_connected{{{NAMESPACE}}}"),
            variable("topic", "Topic", f"busmon_messages_total{{{BUS}}}"),
        ],
        [*AT_A_GLANCE, *VOLUME, *SILENCE, *GAPS, *DELIVERY],
        ANNOTATIONS,
    )
