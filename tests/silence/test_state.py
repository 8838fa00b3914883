"""Whether a topic is silent."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busmon.rules.packit import TABLE
from busmon.silence.baseline import Baseline
from busmon.silence.state import (
    PAGE,
    setting_of,
    silence_state,
    silent_since,
    together,
    usual_max_silence,
)
from busmon.sources.amqp import fedora_toml
from tests.support.silence import DAY, MONDAY, flat

TWO_AN_HOUR = Baseline(flat(2.0), pace=1.0, limit=20.0)
CAMPAIGNS = replace(TWO_AN_HOUR, campaigns=True)

STATES = [
    # baseline, seconds since the last message, blind seconds of them, configured, usual
    ("in time", TWO_AN_HOUR, 9 * 3600, 0, None, None, (True, False, 18)),
    ("too late", TWO_AN_HOUR, 11 * 3600, 0, None, None, (True, True, 22)),
    ("blind for a part", TWO_AN_HOUR, 11 * 3600, 3600, None, None, (True, False, 20)),
    ("no baseline", None, 400 * DAY, 0, None, None, (False, False, None)),
    ("no baseline, usual", None, 2 * DAY, 0, None, DAY, (False, True, None)),
    ("no baseline, within the usual", None, DAY, 0, None, DAY, (False, False, None)),
    ("no baseline, configured", None, 2 * DAY, 0, DAY, None, (False, True, None)),
    ("configured is longer", TWO_AN_HOUR, 11 * 3600, 0, DAY, None, (True, False, 22)),
    ("configured is shorter", TWO_AN_HOUR, 3601, 0, 3600, None, (True, True, 2)),
    ("configured and blind", TWO_AN_HOUR, 3 * 3600, 7200, 3600, None, (True, False, 2)),
    ("usual is shorter", TWO_AN_HOUR, 3601, 0, None, 3600, (True, True, 2)),
    ("configured and usual", TWO_AN_HOUR, 3601, 0, DAY, 3600, (True, False, 2)),
    ("in campaigns", CAMPAIGNS, 40 * DAY, 0, None, None, (False, False, None)),
    ("in campaigns, configured", CAMPAIGNS, 2 * DAY, 0, DAY, None, (False, True, None)),
    ("never a message", TWO_AN_HOUR, None, 0, 1, 1, (True, False, None)),
    ("the clock was set back", TWO_AN_HOUR, -50, 0, 1, 1, (True, False, 0)),
]


@pytest.mark.parametrize(
    ("baseline", "since", "blind", "configured", "usual", "state"),
    [row[1:] for row in STATES],
    ids=[row[0] for row in STATES],
)
def test_a_topic_is(
    baseline: Baseline | None,
    since: float | None,
    blind: float,
    configured: float | None,
    usual: float | None,
    state: tuple[bool, bool, float | None],
) -> None:
    last = None if since is None else MONDAY - since
    spans = [(MONDAY - 100 - blind, MONDAY - 100)] if blind else []
    judged = silence_state(baseline, last, MONDAY, spans, configured, usual)
    assert (judged.ready, judged.silent) == state[:2]
    assert judged.silent == ((judged.ratio or 0.0) > 1)
    assert judged.campaigns == (baseline is CAMPAIGNS and not configured)
    assert judged.expected == (state[2] if state[2] is None else pytest.approx(state[2], abs=0.01))


LEVELS = [  # hours since the last message, configured, usual, and whether it warns, and pages
    ("learned", 13, None, None, (True, False)),
    ("long after what is learned", 15, None, None, (True, True)),
    ("beyond the usual", 8, None, 7, (True, True)),
    ("beyond what is configured", 8, 7, None, (True, True)),
    ("within what is configured", 15, 16, 7, (False, False)),
]


@pytest.mark.parametrize(
    ("hours", "configured", "usual", "levels"),
    [row[1:] for row in LEVELS],
    ids=[row[0] for row in LEVELS],
)
def test_a_fixed_time_pages_at_once_and_what_is_learned_warns_first(
    hours: float, configured: float | None, usual: float | None, levels: tuple[bool, bool]
) -> None:
    bounds = (None if bound is None else 3600 * bound for bound in (configured, usual))
    ratio = silence_state(TWO_AN_HOUR, MONDAY - 3600 * hours, MONDAY, [], *bounds).ratio or 0.0
    assert (ratio > 1, ratio > PAGE) == levels


@given(st.floats(0, 1e7), st.floats(0, 1e6), st.lists(st.floats(0, 1e7), max_size=8))
def test_what_is_expected_never_shrinks_while_a_topic_pauses(
    since: float, wait: float, ends: list[float]
) -> None:
    """Whatever was blind before, as long as it is no more blind than the time that passes."""
    ordered = sorted(ends)
    spans = [(MONDAY + a, MONDAY + b) for a, b in zip(ordered[::2], ordered[1::2], strict=False)]
    before, after = (
        TWO_AN_HOUR.expected(MONDAY, MONDAY + until, spans) for until in (since, since + wait)
    )
    assert 0 <= before <= after + 1e-4
    assert after <= 2 * (since + wait) / 3600 + 1e-4


def test_a_topics_own_name_goes_first_then_patterns_in_order() -> None:
    bounds = {"org.*": 1, "org.fedoraproject.*": 2, "org.fedoraproject.a": 3}
    assert setting_of("org.fedoraproject.a", bounds) == 3
    assert setting_of("org.fedoraproject.b", bounds) == 1
    assert setting_of("git.centos.org/x", bounds) is None


def test_every_topic_that_packit_binds_or_maps_has_a_usual_bound() -> None:
    bindings = fedora_toml.read(Path(__file__).parents[2] / "config" / "fedora.toml").bindings
    topics = [*TABLE, *(binding.routing_key for binding in bindings)]
    assert [topic for topic in topics if usual_max_silence(topic) is None] == []


def test_dist_git_has_the_same_bound_on_pagure_and_on_forgejo() -> None:
    pagure, forgejo = (
        usual_max_silence(f"org.fedoraproject.prod.{topic}")
        for topic in ("pagure.git.receive", "forgejo.push")
    )
    assert pagure == forgejo == 604800


def test_three_topics_that_became_silent_within_six_hours_are_together() -> None:
    hours = {"a": 0, "b": 3, "c": 6, "d": 9.5, "e": 13, "f": 40, "g": 41}
    assert together({topic: 3600.0 * hour for topic, hour in hours.items()}) == {"a", "b", "c"}
    assert silent_since(lambda moment: moment > MONDAY + 600, MONDAY, MONDAY + DAY) == (
        pytest.approx(MONDAY + 600, abs=10)
    )
