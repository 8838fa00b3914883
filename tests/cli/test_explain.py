"""`busmon explain`."""

import gzip
import json
import sys
from pathlib import Path

from busmon.sources.listener_queue import DEATH, ListenerQueue
from tests.samples import CENTOS, CENTOS_FILE, FEDORA, FEDORA_FILE
from tests.support.command import busmon, busmon_process

Row = tuple[str, str, str]


def explained(*words: str | Path, stdin: bytes = b"") -> list[Row]:
    """Return topic, outcome and reason of each message."""
    words = ("explain", "--json", *words)
    ended = busmon_process(*words, stdin=stdin) if stdin else busmon(*words)
    rows = [json.loads(line) for line in ended.stdout.splitlines()]
    return [(row["topic"], row["outcome"], row["reason"]) for row in rows]


def test_every_sample_is_explained_whichever_way_it_comes(tmp_path: Path) -> None:
    packed = tmp_path / "centos.jsonl.gz"
    packed.write_bytes(gzip.compress(CENTOS_FILE.read_bytes()))
    assert explained(FEDORA_FILE, packed) == FEDORA + CENTOS
    assert explained(stdin=CENTOS_FILE.read_bytes()) == CENTOS
    assert explained(FEDORA_FILE, "-", stdin=CENTOS_FILE.read_bytes()) == FEDORA + CENTOS


def test_an_explanation_is_a_line_of_topic_id_outcome_and_reason() -> None:
    lines = busmon("explain", FEDORA_FILE).stdout.splitlines()
    topic = "org.fedoraproject.prod.copr.build.start"
    assert lines[0].split() == [topic, "00000001-0000-4000-8000-000000000000", "handled"]
    assert lines[1].split() == [
        topic, "00000002-0000-4000-8000-000000000000", "ignored", "not-packit-user"
    ]  # fmt: skip


def test_what_kills_the_listener_is_one_death_or_a_crash_loop(tmp_path: Path) -> None:
    def notes(*words: str | Path) -> set[str]:
        lines = busmon("explain", FEDORA_FILE, CENTOS_FILE, *words).stdout.splitlines()
        return {line.partition("rule-raises: ")[2] for line in lines if "rule-raises:" in line}

    toml = tmp_path / "listener.toml"
    assert notes() == {DEATH[ListenerQueue.UNKNOWN]}
    toml.write_text("")  # fedora-messaging's defaults
    assert notes("--fedora-toml", toml) == {DEATH[ListenerQueue.TEMPORARY]}
    toml.write_text("queues = 1")
    refused = busmon("explain", FEDORA_FILE, "--fedora-toml", toml, status=2).stderr
    assert refused.startswith(f"busmon: {toml}: queues: ")


def test_the_packit_user_and_the_project_change_what_is_handled() -> None:
    topic = "org.fedoraproject.prod.copr.build.start"
    rows = explained(FEDORA_FILE, "--user", "alice")
    assert rows[:2] == [(topic, "ignored", "not-packit-user"), (topic, "handled", "")]
    no_specfile = ("org.fedoraproject.prod.pagure.git.receive", "ignored", "no-specfile-change")
    assert no_specfile in FEDORA
    assert no_specfile not in explained(FEDORA_FILE, "--project", "hello")


def test_the_subtopics_of_the_consumer_change_what_is_handled() -> None:
    rows = explained(CENTOS_FILE, "--subtopics", "pull-request.new,git.")
    other = ("ignored", "other-subtopic")
    assert {topic.partition("/")[2] for topic, *judged in rows if tuple(judged) != other} == {
        "pull-request.new", "git.receive"
    }  # fmt: skip


def test_the_rules_can_be_named() -> None:
    records = [
        {"topic": "builds", "headers": {}, "id": "1", "body": {"user": "packit"}},
        {"topic": "builds", "headers": {}, "id": "2", "body": {"user": "alice"}},
        {"topic": "builds", "headers": {}, "id": "3", "body": {}},
        {"topic": "git.centos.org/git.receive", "headers": {}, "id": "4", "body": {}},
    ]
    lines = "\n".join(map(json.dumps, records)).encode()

    def judged(rules: str) -> list[str]:
        return [" ".join(row).strip() for _, *row in explained("--rules", rules, stdin=lines)]

    assert judged("all") == ["handled"] * 4
    assert judged("packit") == ["unmapped"] * 4
    assert judged("centos") == ["handled"] * 4
    own = ["handled", "ignored not-passed", "error rule-raises", "unmapped"]
    assert judged("tests.support.listener:get_callback") == own


def test_a_bad_line_is_named_and_the_rest_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    good = CENTOS_FILE.read_bytes().splitlines()[0]
    path.write_bytes(b"\n".join([good, b"{", b"", b'{"topic": "\\u001b[31m"}', good]))
    lines = busmon("explain", path).stdout.splitlines()
    assert [line.split()[-2:] for line in lines[1:3]] == [
        ["invalid", "not-json"],
        ["invalid", "not-record"],
    ]
    assert f"{path}:2 " in lines[1]
    assert lines[2].startswith(r"\x1b[31m ")
    assert lines[0].split()[-1] == lines[3].split()[-1] == "handled"


def test_an_unreadable_file_is_reported_and_the_others_are_read(tmp_path: Path) -> None:
    wrong, cut = tmp_path / "wrong.gz", tmp_path / "cut.gz"
    wrong.write_bytes(b"plain")
    cut.write_bytes(gzip.compress(FEDORA_FILE.read_bytes())[:-8])
    for command in ("explain", "replay"):
        ended = busmon(command, wrong, cut, CENTOS_FILE, status=1)
        assert [line[: line.index("end:")] for line in ended.stderr.splitlines()] == [
            f"busmon: {path}: cannot be read to its " for path in (wrong, cut)
        ]
        assert "git.centos.org/git.receive" in ended.stdout


def test_a_line_without_end_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """It is 300 MB in a file of 300 kB."""
    good = CENTOS_FILE.read_bytes().splitlines()[0] + b"\n"
    bomb = tmp_path / "bomb.jsonl.gz"
    with gzip.open(bomb, "wb") as file:
        file.write(good)
        for _ in range(300):
            file.write(b" " * 1_000_000)
        file.write(b"\n" + good)
    limited = ("prlimit", f"--data={128 * 1024**2}", sys.executable, "-m", "busmon")
    rows = busmon_process("explain", bomb, program=limited).stdout.splitlines()
    assert [row.split()[-1] for row in rows] == ["handled", "too-large", "handled"]
    counts = json.loads(busmon_process("replay", "--format=json", bomb, program=limited).stdout)
    assert sum(count["messages"] for count in counts) == 3
