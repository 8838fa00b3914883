"""What is missing, in *Bus volume and gaps*."""

from grafana_foundation_sdk.builders.dashboard import Row
from links import gaps_page, page
from panels import PER_MINUTE, Place, Query, colour, graph_panel
from queries import (
    BUS,
    GROWING,
    HALF_A_WINDOW,
    STAGE_LABELS,
    TOPIC,
    audited_per_minute,
    current,
    increase,
    with_short_topic,
)

# The label `age` → what it means, and a darker red for what is older.
AGES = {
    "1h": ("less than 1 h", "#ffa6b0"),
    "6h": ("1 to 6 h", "#ff7383"),
    "1d": ("6 h to 1 d", "#f2495c"),
    "1w": ("1 d to 1 w", "#c4162a"),
    "older": ("more than 1 w", "#7a0f1b"),
}
OPEN_GAPS = current("busmon_open_gap_messages", TOPIC, STAGE_LABELS)
NO_DATA_1H = increase("busmon_audit_no_data_windows_total", BUS, "bus, stage", "1h")
UNEXPECTED_1H = increase("busmon_audit_unexpected_total", GROWING, STAGE_LABELS, "1h")


def of_age(age: str) -> str:
    """Return the messages of open gaps of this age."""
    matchers = f'{BUS},age="{age}"'
    return f"sum({current('busmon_open_gap_age_messages', matchers, 'bus, stage')})"


BY_AGE = graph_panel(
    "Open gaps by age",
    "Messages of open gaps by the age of their window. Recover or accept those that only grow"
    " older. The variable for the topic has no effect here.",
    *(Query(of_age(age), meaning) for age, (meaning, _) in AGES.items()),
    stacked=True,
).links([page("busmon: gaps", "gaps")])
for meaning, red in AGES.values():
    BY_AGE.override_by_name(meaning, colour(red))

GAPS: list[Place] = [
    Row("Gaps"),
    graph_panel(
        "Open gaps by stage and topic",
        "Messages that reached the stage before, but not this one, and that nobody has recovered"
        " or accepted. The alerts are about these.",
        Query(with_short_topic(f"{OPEN_GAPS} > 0"), "{{stage}}: {{name}}"),
        stacked=True,
    ).data_links([gaps_page("bus", "topic", "stage")]),
    BY_AGE,
    graph_panel(
        "Missing and recovered messages",
        "When messages were found missing, and when missing ones reached their stage after all.",
        Query(
            audited_per_minute("busmon_audit_missing_total", GROWING, "stage"),
            "missing: {{stage}}",
            HALF_A_WINDOW,
        ),
        Query(
            audited_per_minute("busmon_audit_recovered_total", GROWING, "stage"),
            "recovered: {{stage}}",
            HALF_A_WINDOW,
        ),
    )
    .unit(PER_MINUTE)
    .data_links([gaps_page("stage")]),
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
    ).links([page("busmon: unconfirmed messages", "gaps", state="unconfirmed")]),
]
