"""The dashboard *Bus volume and gaps*: what the buses bring, and what becomes of it.

In the order of the questions of the engineer on duty: is all well, what is missing, what no longer
comes, what came, where it got stuck, how late it was.
"""

from board import (
    add_panels,
    annotation,
    busmon_starts,
    busmons,
    half_window,
    new_dashboard,
    several,
    single,
)
from bus_delivery import DELIVERY
from bus_gaps import GAPS
from bus_levels import LEVELS
from bus_processed import PROCESSED
from bus_topics import SILENCE, VOLUME
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import BigValueTextMode
from grafana_foundation_sdk.models.dashboard import Dashboard, VariableHide
from links import OVERVIEW, dashboard, incidents_page, page
from panels import (
    GREEN,
    GREY,
    ONE_IS_WELL,
    RED,
    YELLOW,
    ZERO_IS_WELL,
    Place,
    Query,
    stat_panel,
    value_texts,
)
from queries import BUS, BUSMON, TOPIC, current, increase

FAULT = current("busmon_verdict", f'{BUS},kind!="none"', "bus, kind") + " == 1"
ALL_IS_WELL = current("busmon_verdict", f'{BUS},kind="none"', "bus, kind") + " == 1"

AT_A_GLANCE: list[Place] = [
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
        span=9,
    )
    .text_mode(BigValueTextMode.NAME)
    .no_value("busmon does not answer")
    .data_links([incidents_page()]),
    stat_panel(
        "Connected",
        "Whether busmon itself is connected and subscribed to the bus. While it is not, it"
        " cannot see gaps.",
        Query(current("busmon_bus_connected", BUS, "bus"), "{{bus}}"),
        steps=ONE_IS_WELL,
        span=5,
    )
    .mappings([value_texts({"0": ("no", RED), "1": ("yes", GREEN)})])
    .links([OVERVIEW]),
    stat_panel(
        "Blind time",
        "How long busmon did not receive from the bus, in the time range shown.",
        Query(increase("busmon_blind_seconds_total", BUS, "bus"), "{{bus}}"),
        steps=[(None, GREY), (0, GREEN), (30, YELLOW), (300, RED)],
        span=5,
    )
    .unit(units.Seconds)
    .data_links([incidents_page()]),
    stat_panel(
        "Silent topics",
        "Topics that have been silent for longer than usual. The table *Topics* below names them.",
        Query(f"sum({current('busmon_topic_silent', TOPIC, 'bus, topic')})", "silent"),
        steps=ZERO_IS_WELL,
        span=5,
    ).data_links([page("busmon: silent topics", "topics", state="silent")]),
]

ANNOTATIONS = [
    annotation("Incident", FAULT, "{{bus}}: {{kind}}", "red"),
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
    busmon_starts(),
]


def build() -> Dashboard:
    """Return the dashboard."""
    made = new_dashboard(
        "Bus volume and gaps",
        "busmon-bus",
        "What the message buses bring, and what becomes of it. The top shows whether all is well.",
        [
            single("namespace", "Namespace", "busmon_build_info"),
            *busmons(),
            several("bus", "Bus", f"busmon_bus_connected{{{BUSMON}}}"),
            several("topic", "Topic", f'busmon_messages_total{{{BUS},topic!="__other__"}}'),
            several("stage", "Stage", f"busmon_stage_delay_seconds_bucket{{{BUS}}}").hide(
                VariableHide.HIDE_VARIABLE
            ),
            half_window(),
        ],
        other=dashboard("busmon and the listener as pods", "busmon-pods"),
    ).annotations(ANNOTATIONS)
    add_panels(made, [*PROCESSED, *AT_A_GLANCE, *GAPS, *SILENCE, *VOLUME, *DELIVERY, *LEVELS])
    return made.build()
