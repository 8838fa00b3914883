"""Made-up weeks with Christmas, weekends and a mass rebuild: what is compared with its past."""

import re

import numpy as np
import pytest
import yaml

from tests.deploy.test_rules import PROMETHEUS
from tests.silence.simulation.traffic import CHRISTMAS, DAY, REBUILDS, Topic, arrivals
from tests.support.prometheus import promtool_test

STEP = 30  # minutes
FIRST, LAST = CHRISTMAS.start, REBUILDS[0][0] + 8  # days of the simulated year
FAULT = (30 * DAY + 600) // STEP  # steps; a Wednesday at work, during the rebuild
HOURS = (LAST - FIRST) * 24


def habits(a_day: float, clump: float, weekends: float, *, rebuilt: bool = False) -> Topic:
    return Topic("", a_day, clump, 10, 0.5, weekends, weekends * 0.8, 1.2, 0, rebuilt)


# Of each topic, the messages that the listener should handle, and all others.
TOPICS = {
    "copr": (habits(8800, 12, 0.4), habits(13200, 12, 0.7)),
    "koji tasks": (habits(1000, 8, 0.4), habits(50000, 15, 0.5, rebuilt=True)),
    "koji builds": (habits(9000, 4, 0.4), habits(6000, 15, 0.5, rebuilt=True)),
    "git": (habits(700, 4, 0.35), habits(500, 4, 0.35)),
    "anitya": (habits(4, 2, 0.6), habits(11, 3, 0.6)),
}


def steps(topic: Topic, rng: np.random.Generator) -> np.ndarray:
    minutes = arrivals(topic, rng)[FIRST * DAY : LAST * DAY]
    by_step: np.ndarray = minutes.reshape(-1, STEP).sum(axis=1)
    return by_step


def series(bus: str, topic: str, handled: np.ndarray, others: np.ndarray) -> list[dict[str, str]]:
    return [
        {
            "series": f'busmon_messages_total{{job="busmon",bus="{bus}",topic="{topic}"'
            f',outcome="{outcome}"}}',
            "values": " ".join(map(str, np.cumsum(messages))),
        }
        for outcome, messages in (("handled", handled), ("ignored", others))
    ]


@pytest.fixture(scope="module")
def fired(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str, str]]:
    """Return which alerts fired, for which bus and topic, at any of these weeks' hours."""
    folder = tmp_path_factory.mktemp("weeks")
    rng = np.random.default_rng(1)
    given = []
    for topic, kinds in TOPICS.items():
        handled, others = (steps(kind, rng) for kind in kinds)
        given += series("well", topic, handled, others)
        if topic != "copr":
            continue
        # From 40 to 12 %; a fifth of the volume, for a day; 30 times as many of others, for a day.
        kept, flood = handled.copy(), others.copy()
        kept[FAULT:] = rng.binomial(handled[FAULT:], 0.3)
        given += series("filtered", topic, kept, others + handled - kept)
        less = [messages.copy() for messages in (handled, others)]
        for messages in less:
            messages[FAULT : FAULT + 48] = rng.binomial(messages[FAULT : FAULT + 48], 0.2)
        given += series("less", topic, *less) + series("less", "another", handled, others)
        flood[FAULT : FAULT + 48] *= 30
        given += series("flooded", topic, handled, flood)
    given += [
        {"series": f'busmon_bus_connected{{job="busmon",bus="{bus}"}}', "values": f"1x{HOURS * 2}"}
        for bus in ("well", "filtered", "less", "flooded")
    ]
    [past] = yaml.safe_load((PROMETHEUS / "rules/past.yml").read_text())["groups"]
    names = set()
    for rule in past["rules"]:
        if "alert" in rule:
            names.add(rule["alert"])
            rule["annotations"] = {}
    (folder / "past.yml").write_text(yaml.safe_dump({"groups": [past]}))
    cases = [
        {"eval_time": f"{hour}h", "alertname": name} for hour in range(HOURS) for name in names
    ]
    test = {"interval": f"{STEP}m", "input_series": given, "alert_rule_test": cases}
    unit_test = {"rule_files": ["past.yml"], "evaluation_interval": f"{STEP}m", "tests": [test]}
    labels = re.findall(r"Labels:\{(.*)\}", promtool_test(folder / "test.yml", unit_test))
    pairs = [dict(re.findall(r'(\w+)="([^"]*)"', text)) for text in labels]
    return {(of["alertname"], of["bus"], of["topic"]) for of in pairs}


def test_only_faults_fire_in_weeks_with_christmas_and_a_rebuild(
    fired: set[tuple[str, str, str]],
) -> None:
    assert fired == {
        ("BusmonHandledShareLow", "filtered", "copr"),
        ("BusmonTopicLow", "less", "copr"),
    }
