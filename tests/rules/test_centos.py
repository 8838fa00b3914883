"""What a consumer of git.centos.org does with each message, from the packet to the judgement."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busmon.message import TOO_COSTLY, TOO_LARGE, Judgement, Outcome
from busmon.rules import RAISES, Rules, RuleSet, rule_set
from busmon.rules.centos import CentosRules
from busmon.sources.json_body import MAX_BODY_BYTES, REJECTIONS
from busmon.sources.mqtt.packets import Publish
from busmon.sources.mqtt.source import to_message

IGNORED, RAISED = "ignored other-subtopic", "error rule-raises"


def consumed(topic: str, payload: bytes, subtopics: tuple[str, ...]) -> str:
    """Do what the consumer does."""
    after = topic.split("/", 1)[-1]
    if subtopics and not any(after.startswith(subtopic) for subtopic in subtopics):
        return IGNORED
    try:
        event = json.loads(payload)
        event["topic"] = topic
    except (ValueError, TypeError, RecursionError):
        return RAISED
    return "handled"


def of(*subtopics: str) -> RuleSet:
    return rule_set("centos", Rules(centos=CentosRules(subtopics=subtopics)))


def judged(rules: RuleSet, topic: str, payload: bytes) -> str:
    judgement = rules.judge(to_message("centos", Publish(topic.encode(), payload, 2), 1.0))
    return f"{judgement.outcome} {judgement.reason}".strip()


TEXT = '{"agent": "alice", "title": "Žluťoučký 🐎"}'
OBJECTS = [
    b"{}",
    b' \t\r\n{"a": 1}\n ',
    b'{"topic": "another", "a": [{}, null, true, -0.0]}',
    b'{"a": 1, "a": 2}',
    b'{"a": NaN, "b": Infinity, "c": -Infinity}',
    b'{"a": 1e999, "b": 123456789012345678901234567890, "c": 0.1e-999}',
    b'{"a": %s}' % (b"9" * 4300),  # the most digits that Python reads
    b'{"a": "\\ud800", "b": "\\ud83d\\ude00", "": "\\u0000"}',
    b'{"a": "\xed\xa0\x80"}',  # half of a pair, encoded as if it were a character
    b'{"a": %s}' % (b"[" * 200 + b"]" * 200),
    *(
        TEXT.encode(encoding)
        for encoding in (
            "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le",
            "utf-32-be",
        )
    ),
    b"\xfe\xff" + TEXT.encode("utf-16-be"),
    b"\x00\x00\xfe\xff" + TEXT.encode("utf-32-be"),
    b'{\x00"\x00a\x00"\x00:\x00"\x00\x00\xd8"\x00}\x00',  # half of a pair in UTF-16
]  # fmt: skip
OTHERS = [
    b"",
    b" ",
    b"\x00",
    b"null",
    b"true",
    b"7",
    b"-1.5",
    b"NaN",
    b'"text"',
    b'"{}"',
    b"[]",
    b'[{"a": 1}]',
    b'[["topic", 1]]',
    b"{",
    b"{} {}",
    b"{}\x00",
    b"{'a': 1}",
    b'{"a": 1,}',
    b"{a: 1}",
    b'{"a": 01}',
    b'{"a": +1}',
    b'{"a": "\x01"}',
    b'{"a": nan}',
    b'{"a": "\\x"}',
    b"// a comment\n{}",
    b"<html>",
    b"\xff{}",
    b"\xed{}",
    b'{"a": "\xf1"}',
    b'{"a": %s}' % (b"9" * 4301),
    b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b"[" * 100_000,
    b'{"a": ' * 10_000 + b"1" + b"}" * 10_000,
    *(TEXT.encode(encoding)[:-1] for encoding in ("utf-8", "utf-16", "utf-16-le", "utf-32-be")),
    b"\xef\xbb\xbf",
    b"\xef\xbb\xbf" * 2 + b"{}",
    b"\xff\xfe",
    '{"a": "é"}'.encode("latin-1"),
    "{}".encode("utf-16-le") + b"\x00\xd8"[:1],
    "[1]".encode("utf-16"),
]
PAYLOADS = [*((one, "handled") for one in OBJECTS), *((one, RAISED) for one in OTHERS)]

PULL_REQUEST, TWO, SLASH = ("pull-request",), ("pull-request.", "git"), ("pull-request/a", "/")
WANTED = [  # topic, MQTT_SUBTOPICS, whether it looks at the payload
    ("git.centos.org/pull-request.new", (), True),
    ("git.centos.org/pull-request.new", PULL_REQUEST, True),
    ("git.centos.org/pull-request.new", TWO, True),
    ("git.centos.org/pull-request.new", SLASH, False),
    ("git.stg.centos.org/pull-requests", PULL_REQUEST, True),
    ("git.stg.centos.org/pull-requests", TWO, False),
    ("git.centos.org/git.receive", (), True),
    ("git.centos.org/git.receive", PULL_REQUEST, False),
    ("git.centos.org/git.receive", TWO, True),
    ("git.centos.org/Pull-request.new", PULL_REQUEST, False),
    ("git.centos.org/a/pull-request.new", PULL_REQUEST, False),
    ("git.centos.org/pull-request/a", SLASH, True),
    ("git.centos.org//a", SLASH, True),
    ("git.centos.org/", (), True),
    ("git.centos.org/", PULL_REQUEST, False),
    ("pull-request.new", PULL_REQUEST, True),  # without a slash all of it counts
    ("git", TWO, True),
    ("/pull-request.new", PULL_REQUEST, True),
    ("cbs-signing/done", (), True),
    ("", (), True),
    ("", PULL_REQUEST, False),
]


@pytest.mark.parametrize(("payload", "expected"), PAYLOADS)
def test_what_is_a_json_object_is_handled_and_all_else_raises(
    payload: bytes, expected: str
) -> None:
    for topic, subtopics, wanted in WANTED:
        outcome = expected if wanted else IGNORED
        assert judged(of(*subtopics), topic, payload) == outcome, (topic, subtopics)
        assert consumed(topic, payload, subtopics) == outcome, (topic, subtopics)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1")


@given(JSON, st.sampled_from(ENCODINGS), st.integers(min_value=0, max_value=3), st.booleans())
def test_any_json_in_any_encoding_cut_or_not_is_judged_alike(
    value: object, encoding: str, cut: int, ascii_only: bool
) -> None:
    payload = json.dumps(value, ensure_ascii=ascii_only).encode(encoding, "replace")
    payload = payload[: len(payload) - cut]
    assert judged(of(), "a/b", payload) == consumed("a/b", payload, ())


@given(st.binary())
def test_any_bytes_are_judged_as_the_consumer_does(payload: bytes) -> None:
    assert judged(of(), "a/b", payload) == consumed("a/b", payload, ())


def test_the_topic_comes_before_what_busmon_cannot_read() -> None:
    large = b'{"a": "' + b"x" * MAX_BODY_BYTES + b'"}'
    costly = b'{"a": [' + b",".join([b'{"":0}'] * 290_000) + b"]}"
    for payload, why in ((large, TOO_LARGE), (costly, TOO_COSTLY)):
        assert judged(of("b"), "a/b", payload) == f"error {why.reason}"
        assert judged(of("c"), "a/b", payload) == IGNORED


def test_nothing_is_invalid_or_unmapped_on_this_bus() -> None:
    rules = of("pull-request")
    assert {rules.unreadable(why) for why in REJECTIONS} == {RAISES, TOO_LARGE, TOO_COSTLY}
    ignored = Judgement(Outcome.IGNORED, "other-subtopic")
    assert dict(rules.known_series()) == {
        f"git.centos.org/{event}": Judgement(Outcome.HANDLED) if wanted else ignored
        for event, wanted in {
            "pull-request.new": True, "pull-request.reopened": True,
            "pull-request.updated": True, "pull-request.comment.added": True,
            "pull-request.comment.edited": True, "git.receive": False,
        }.items()
    }  # fmt: skip
