"""The top of *Bus volume and gaps*: bus volume against processed events."""

from grafana_foundation_sdk.models import units
from links import OVERVIEW, gaps_page
from panels import (
    BLUE,
    GREEN,
    GREY,
    PER_MINUTE,
    RED,
    YELLOW,
    ZERO_IS_WELL,
    Place,
    Query,
    area,
    colour,
    graph_panel,
    stat_panel,
)
from queries import (
    BUS,
    EVENTS_PROCESSED,
    GROWING,
    HALF_A_WINDOW,
    NAMESPACE,
    RATE_INTERVAL,
    STAGE_LABELS,
    TOPIC,
    audited_per_minute,
    current,
    events_processed,
    increase,
)

REACHED = "busmon_audit_messages_total"
# Listener, workers, handlers: of each bus, the last one that is watched.
LAST_FIRST = ("handlers", "worker", "listener")
BY_GATEWAY = "Packit's push gateway"


def reached(stage: str, by: str = "") -> str:
    """Return the messages a minute that reached a stage."""
    return audited_per_minute(REACHED, f'{GROWING},stage="{stage}"', by)


def in_range(counter: str, stage: str, by: str = "") -> str:
    """Return how many messages a counter of the audit has of these stages, in the time shown."""
    each = increase(counter, f'{GROWING},stage=~"{stage}"', STAGE_LABELS)
    return f"sum by ({by}) ({each})"


def others_in_range(counter: str, matchers: str = NAMESPACE) -> str:
    """Return the increase of another program's counter in the time shown."""
    return f"sum(increase({counter}{{{matchers}}}[$__range]))"


PROCESSED_BY_STAGE = " or on (bus) ".join(reached(stage, "bus, stage") for stage in LAST_FIRST)
MISSING = audited_per_minute("busmon_audit_missing_total", GROWING, "")
# The buses behind which anything is watched.
WATCHED_BUSES = f'group by (bus) (rate({REACHED}{{{GROWING},stage!="bus"}}{RATE_INTERVAL}))'
IS_WATCHED = f"on () {WATCHED_BUSES}"
BROUGHT = reached("bus")
# If any bus is watched, only of those that are, so that the graph shows no others as a difference.
TO_BE_HANDLED = f"sum({reached('bus', 'bus')} and on (bus) {WATCHED_BUSES}) or on () {BROUGHT}"

PROCESSED_IN_RANGE = " or on (bus) ".join(in_range(REACHED, stage, "bus") for stage in LAST_FIRST)
STILL_MISSING = (
    f"clamp_min({in_range('busmon_audit_missing_total', '.+')}"
    f" - {in_range('busmon_audit_recovered_total', '.+')}, 0)"
)
SHARE = f"1 - {STILL_MISSING} / (sum({PROCESSED_IN_RANGE}) + {STILL_MISSING} > 0)"
GATEWAY_IN_RANGE = events_processed(
    others_in_range("events_processed_total"),
    others_in_range("github_webhook_calls_total", NAMESPACE + ',result="accepted"'),
)
GATEWAY_SHARE = f"clamp_max({GATEWAY_IN_RANGE} / ({in_range(REACHED, 'bus')} > 0), 1)"

PROCESSED: list[Place] = [
    graph_panel(
        "Bus volume and processed events",
        "The messages that the listener should pass on, and how far they came, by the windows of"
        " the audit, some minutes late. *processed*: reached the last stage that is watched, of"
        " handlers, worker and listener. *not processed*, in red: missing at one of them. Of what"
        " is between the areas and *to be handled*, nobody knows yet: it is unconfirmed, or still"
        " running. A bus behind which nothing is watched is in no line, unless all are like that."
        " What comes late, or what only the archive had, counts when that is found out.\n\n"
        "If nothing behind any bus is watched, *processed* is what Packit's push gateway counts as"
        " events_processed_total, less the accepted webhooks of GitHub. That shows whether the"
        " workers stand still, or do far less than the bus brings. It cannot show single lost"
        " messages, because the webhooks of GitLab and Testing Farm are still in it: the red area"
        " is the least that is not processed. Nor does it know buses and topics.",
        Query(
            f"sum by (stage) ({PROCESSED_BY_STAGE})"
            f' or on () label_replace({EVENTS_PROCESSED}, "stage", "{BY_GATEWAY}", "", "")',
            "processed ({{stage}})",
            HALF_A_WINDOW,
        ),
        Query(
            f"({MISSING} and {IS_WATCHED})"
            f" or on () clamp_min({BROUGHT} - {EVENTS_PROCESSED}, 0)"
            f" or on () {MISSING}",
            "not processed",
            HALF_A_WINDOW,
        ),
        Query(TO_BE_HANDLED, "to be handled (bus)", HALF_A_WINDOW),
        Query(reached("listener"), "passed on (listener)", HALF_A_WINDOW),
        Query(reached("worker"), "finished (worker)", HALF_A_WINDOW),
        span=19,
    )
    .height(11)
    .fill_opacity(0)  # of the lines
    .unit(PER_MINUTE)
    .override_by_regexp("/^processed/", area(GREEN))
    .override_by_name("not processed", area(RED))
    .override_by_name("to be handled (bus)", colour(BLUE))
    .override_by_name("passed on (listener)", colour(YELLOW))
    .override_by_name("finished (worker)", colour("purple"))
    .links([OVERVIEW]),
    (
        stat_panel(
            "Processed share",
            "In the time range shown: of the messages that reached the last stage that is watched,"
            " and those that are missing at any, the share of the first. Of unconfirmed messages"
            " nobody knows, so they are in neither. If nothing behind any bus is watched: what"
            " Packit's push gateway counts, as in the graph, as a share of the messages to be"
            " handled.",
            Query(f"({SHARE}) or on () ({GATEWAY_SHARE} unless {IS_WATCHED})", "processed"),
            steps=[(None, GREY), (0, RED), (0.98, YELLOW), (0.999, GREEN)],
            span=5,
        )
        .unit(units.PercentUnit)
        .no_value("no messages")
        .links([OVERVIEW]),
        stat_panel(
            "Open gaps: messages",
            "Messages that are missing at the listener, the workers or their handlers, and that"
            " nobody has recovered or accepted, however old they are. `busmon gaps` lists them."
            " Not audited: there is no tap.",
            Query(
                f"sum by (stage) ({current('busmon_open_gap_messages', TOPIC, STAGE_LABELS)})",
                "{{stage}}",
            ),
            steps=ZERO_IS_WELL,
            span=5,
        )
        .no_value("not audited")
        .data_links([gaps_page("stage")]),
        stat_panel(
            "Unconfirmed messages",
            "Messages of windows without data: nobody knows whether they reached the stage.",
            Query(
                f"sum by (stage) ({current('busmon_unconfirmed_messages', BUS, 'bus, stage')})",
                "{{stage}}",
            ),
            steps=[(None, GREY), (0, GREEN), (1, YELLOW)],
            span=5,
        )
        .height(3)
        .no_value("not audited")
        .data_links([gaps_page(state="unconfirmed")]),
    ),
]
