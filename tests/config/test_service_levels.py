"""`[slo.NAME]`, and every way to get it wrong."""

from pathlib import Path

import pytest

from busmon.config.describe import describe
from busmon.settings.service_level import ServiceLevel
from tests.config import AMQP, MQTT, STOMP, problems, read

TAP = '[audit.reports]\nbus = "fedora"\ntoken = "x"\n'
CELERY = '[audit.celery]\nbus = "fedora"\nbroker = "redis://localhost"\n'
LEVEL = {
    "bus": '"fedora"',
    "topics": '["org.fedoraproject.prod.copr.build.end", "*.koji.*", "*task.state*"]',
    "stage": '"handlers"',
    "within": '"5m"',
    "objective": "0.98",
}


def level(**changes: str | None) -> str:
    """Return a table with these settings; None leaves one out."""
    settings = {key: value for key, value in (LEVEL | changes).items() if value is not None}
    return "[slo.copr]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items())


def test_a_service_level_names_topics_a_stage_and_a_bound(directory: Path) -> None:
    text = AMQP + TAP + CELERY + level(topics='["*.copr.build.end"]')
    config = read(directory, text)
    assert describe(config).endswith(
        "\nslo\n  copr        98 % of *.copr.build.end on fedora: handlers within 5m"
    )
    assert config.slo == {
        "copr": ServiceLevel(
            bus="fedora",
            topics=("*.copr.build.end",),
            stage="handlers",
            within=300,
            objective=0.98,
        )
    }


BOTH = AMQP + TAP + CELERY
SHORT = '[audit]\nlongest_task = "3150s"\n'
NO_TOPIC = "the rules packit have no such topic:"
PROBLEMS: dict[str, tuple[str, list[str]]] = {
    "nothing": (BOTH + "[slo.copr]\n", [f"{key}: is missing" for key in LEVEL]),
    "a stage that there is not": (
        BOTH + level(stage='"bus"', topics='["*"]'),
        ["stage: should be 'listener', 'worker' or 'handlers'"],
    ),
    "no observer of the workers": (
        AMQP + TAP + level(topics='["*"]'),
        ["stage: handlers needs [audit.celery] of the bus fedora"],
    ),
    "no observer": (
        AMQP + level(topics='["*"]', stage='"worker"'),
        ["stage: worker needs [audit.reports] and [audit.celery] of the bus fedora"],
    ),
    "no tap": (
        AMQP + CELERY + level(topics='["*"]', stage='"listener"'),
        ["stage: listener needs [audit.reports] of the bus fedora"],
    ),
    "an observer of another bus": (
        BOTH + STOMP + level(bus='"umb"', stage='"listener"'),
        ["stage: listener needs [audit.reports] of the bus umb"],
    ),
    "no such bus": (BOTH + level(bus='"x"'), ["bus: no such bus: x"]),
    "topics that no rule has": (
        BOTH + level(topics='["*.build.end", "copr.build.end", "*.cupr.*"]'),
        [
            f"topics, item 2: {NO_TOPIC} copr.build.end",
            f"topics, item 3: {NO_TOPIC} *.cupr.*",
        ],
    ),
    "more than is kept": (
        BOTH + SHORT + '[ledger]\nretention = "1h"\n' + level(topics='["*"]', within='"3451s"'),
        ["within: should be at most 3450s, because [ledger] retention is 1h"],
    ),
    "several at once": (
        AMQP + level(topics="[]", stage="1", within='"8d"', objective="98"),
        [
            "topics: should not be empty",
            "stage: should be 'listener', 'worker' or 'handlers'",
            "within: should be at most 604650s, because [ledger] retention is 7d",
            "objective: should be less than 1",
        ],
    ),
    "a table within another": (
        BOTH + level(topics='["*"]', objective="0", colour="1"),
        ["objective: should be greater than 0", "colour: no such setting"],
    ),
}


@pytest.mark.parametrize("case", PROBLEMS)
def test_what_is_wrong_is_reported_with_its_place(directory: Path, case: str) -> None:
    text, expected = PROBLEMS[case]
    assert problems(directory, text) == [f"slo.copr.{problem}" for problem in expected]


def test_the_name_becomes_a_label_and_has_its_characters(directory: Path) -> None:
    text = BOTH + level(topics='["*"]').replace("slo.copr", 'slo."Copr builds"')
    assert problems(directory, text) == [
        'slo."Copr builds": the name of a service level has only a-z, 0-9, _ and -, at most 64,'
        " and begins with a letter"
    ]


def test_rules_that_handle_any_topic_have_each_one(directory: Path) -> None:
    tap = TAP.replace("fedora", "centos")
    text = MQTT + tap + level(bus='"centos"', topics='["new"]', stage='"listener"')
    assert read(directory, text).slo["copr"].topics == ("new",)


def test_a_task_is_kept_for_as_long_as_it_may_take(directory: Path) -> None:
    short = '[ledger]\nretention = "1h"\n'
    problem = "audit.longest_task: should be at most 3150s, because [ledger] retention is 1h"
    assert problems(directory, BOTH + short) == [problem]
    assert problems(directory, BOTH + short + SHORT.replace("3150", "3151")) == [problem]
