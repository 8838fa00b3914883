"""What every rule set has in common, and the sets with few rules."""

from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busmon.message import Judgement, Message, Outcome
from busmon.rules import RAISES, Rules, rule_set
from tests.rules import DIST_GIT, PACKIT, P, judge
from tests.samples import CENTOS, FEDORA


def test_without_a_listener_everything_is_handled() -> None:
    rules = rule_set("all", Rules())
    assert judge(rules, "any/topic", None) == "handled"
    assert list(rules.known_series()) == []


@pytest.mark.parametrize("name", ["packit", "centos", "all", "tests.support.listener:get_callback"])
def test_what_the_source_rejected_stays_rejected(name: str) -> None:
    rejected = Judgement(Outcome.INVALID, "not-json")
    topic = P + "copr.build.end"
    message = Message(bus="a-bus", id="1", topic=topic, received_at=0, rejected=rejected)
    assert rule_set(name, Rules()).judge(message) == rejected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("packit", "invalid not-json"),
        ("centos", "error rule-raises"),
        ("all", "invalid not-json"),
        ("tests.support.listener:get_callback", "invalid not-json"),
    ],
)
def test_what_cannot_be_read_is_judged_by_the_rule_set(name: str, expected: str) -> None:
    rules = rule_set(name, Rules())
    topic, unreadable = P + "copr.build.end", Judgement(Outcome.INVALID, "not-json")
    message = Message(bus="a-bus", id="1", topic=topic, received_at=0, unreadable=unreadable)
    assert " ".join(astuple(rules.judge(message))) == expected
    large = Judgement(Outcome.ERROR, "too-large")
    assert rules.judge(message._replace(unreadable=large)) == large


@pytest.mark.parametrize(
    ("name", "topic", "body", "expected"),
    [
        ("get_callback", "builds", {"user": "packit"}, "handled"),
        ("get_callback", "builds", {"user": "alice"}, "ignored not-passed"),
        ("get_callback", "builds", {}, "error rule-raises"),
        ("get_callback", "everything", None, "handled"),
        ("get_callback", "unknown", {"user": "packit"}, "unmapped"),
        ("Nested.get", "builds", {"user": "packit"}, "handled"),
        ("Nested.get", "unknown", {"user": "packit"}, "unmapped"),
        ("Nested.item", "builds", {"user": "alice"}, "ignored not-passed"),
        ("Nested.item", "unknown", {"user": "packit"}, "unmapped"),
        ("one_for_all", "any", {"user": "packit"}, "handled"),
        ("one_for_all", "any", {}, "error rule-raises"),
        ("raises", "any", {}, "error rule-raises"),
    ],
)
def test_a_listeners_own_code_judges(name: str, topic: str, body: Any, expected: str) -> None:
    rules = rule_set(f"tests.support.listener:{name}", Rules())
    assert judge(rules, topic, body) == expected
    assert list(rules.known_series()) == []


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("pakcit", "should be packit, centos, all or module:callable, not 'pakcit'"),
        ("", "should be packit, centos, all or module:callable, not ''"),
        (
            "nowhere:get",
            "cannot import nowhere:get: ModuleNotFoundError: No module named 'nowhere'",
        ),
        (
            "tests.support.listener:nothing",
            "cannot import tests.support.listener:nothing: AttributeError: "
            "module 'tests.support.listener' has no attribute 'nothing'",
        ),
        (":get", "cannot import :get: ValueError: Empty module name"),
        (
            "tests.support.listener:NOT_CALLABLE",
            "tests.support.listener:NOT_CALLABLE is not callable",
        ),
    ],
)
def test_what_is_no_rule_set_is_refused_with_the_reason(name: str, why: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - compared in full below
        rule_set(name, Rules())
    assert str(refused.value) == why


@pytest.mark.parametrize(
    ("code", "why"),
    [("1 / 0", "ZeroDivisionError: division by zero"), ("raise SystemExit(5)", "SystemExit: 5")],
)
def test_a_listener_whose_module_breaks_on_import_is_refused(
    code: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_listener.py").write_text(f"{code}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=why):
        rule_set("broken_listener:get_callback", Rules())


# Bodies that often have the keys that the rules look at, with whatever behind them.
KEYS = """user tag task method owner changed_files pullrequest comments comment name merged
    message packages distro package_name upstream_versions body repository html_url run
    head_commit modified added removed hello.spec""".split()  # noqa: SIM905 - a list takes a line for each
TEXTS = [
    "packit",
    "releng",
    "build",
    "f44-build-side-1",
    "hello.spec",
    "CentOS",
    *DIST_GIT.values(),
]
BODIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(TEXTS) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=5)
    ),
)


@given(topic=st.sampled_from(sorted({topic for topic, _ in PACKIT.known_series()})), body=BODIES)
def test_any_body_comes_to_a_known_judgement(topic: str, body: Any) -> None:
    judgement = PACKIT.judge(Message(bus="a-bus", id="1", topic=topic, received_at=0, body=body))
    assert judgement == RAISES or (topic, judgement) in PACKIT.known_series()


@given(topic=st.text(), body=BODIES)
def test_no_topic_and_no_body_make_a_rule_set_raise(topic: str, body: Any) -> None:
    for name in ("packit", "centos", "all", "tests.support.listener:get_callback"):
        judge(rule_set(name, Rules()), topic, body)


def test_the_samples_have_every_fedora_topic_and_every_reason() -> None:
    tested = {(topic, Judgement(Outcome(outcome), reason)) for topic, outcome, reason in FEDORA}
    assert set(PACKIT.known_series()) <= tested


def test_the_samples_have_every_centos_topic() -> None:
    tested = {(topic, Judgement(Outcome(outcome), reason)) for topic, outcome, reason in CENTOS}
    assert set(rule_set("centos", Rules()).known_series()) <= tested
