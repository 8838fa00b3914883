"""`busmon replay`: what it counts, and in which formats."""

import gzip
import json
import subprocess
from collections import Counter
from pathlib import Path

from tests.samples import CENTOS, CENTOS_FILE, FEDORA, FEDORA_FILE
from tests.support.command import busmon, busmon_process
from tests.support.exposition import Series, counter


def expected(fedora: str = "fedora", centos: str = "centos") -> Counter[Series]:
    return Counter([(fedora, *row) for row in FEDORA] + [(centos, *row) for row in CENTOS])


def from_json(text: str) -> Counter[Series]:
    rows = json.loads(text)
    return Counter(
        {(row["bus"], row["topic"], row["outcome"], row["reason"]): row["messages"] for row in rows}
    )


def test_recorded_messages_are_counted_and_listed(tmp_path: Path) -> None:
    packed = tmp_path / "fedora.jsonl.gz"
    packed.write_bytes(gzip.compress(FEDORA_FILE.read_bytes()))
    table = busmon_process("replay", packed, "-", stdin=CENTOS_FILE.read_bytes())
    assert table.stderr == ""
    head, *rows = [line.split() for line in table.stdout.splitlines()]
    assert head == ["bus", "topic", "outcome", "reason", "messages"]
    keys = [(*row[:-1], "")[:4] for row in rows]  # a reason may be empty
    assert Counter(dict(zip(keys, (int(row[-1]) for row in rows), strict=True))) == expected()
    as_json = busmon("replay", packed, CENTOS_FILE, "--format", "json").stdout
    assert from_json(as_json) == expected()


def test_what_prometheus_is_given_is_complete_and_well_formed() -> None:
    text = busmon("replay", FEDORA_FILE, CENTOS_FILE, "--format", "prometheus").stdout
    assert counter(text) == expected()
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_a_message_that_comes_twice_is_a_duplicate() -> None:
    rows = from_json(busmon("replay", FEDORA_FILE, FEDORA_FILE, "--format", "json").stdout)
    assert rows == Counter([("fedora", *row) for row in FEDORA]) + Counter(
        {("fedora", "", "duplicate", ""): len(FEDORA)}
    )


def test_bad_lines_are_named_by_file_and_line_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    good = CENTOS_FILE.read_bytes().splitlines()[0]
    path.write_bytes(b"\n".join([b"\xff", b"", b"[]", good, b"{}", b'{"topic": "x"}']))
    ended = busmon("replay", path, "--format", "json")
    assert ended.stderr.splitlines() == [
        f"{path}:1: not-utf8",
        f"{path}:3: not-object",
        f"{path}:5: not-record",
        f"{path}:6: not-record",
    ]
    assert from_json(ended.stdout) == Counter(
        {
            ("fedora", "__none__", "invalid", "not-utf8"): 1,
            ("fedora", "__none__", "invalid", "not-object"): 1,
            ("centos", "git.centos.org/pull-request.new", "handled", ""): 1,
            ("centos", "__none__", "invalid", "not-record"): 1,
            ("centos", "x", "invalid", "not-record"): 1,
        }
    )


def test_a_configuration_gives_the_subtopics_of_the_consumer(tmp_path: Path) -> None:
    configuration = tmp_path / "busmon.toml"
    configuration.write_text("""
        [rules.centos]
        subtopics = ["git."]
        [buses.git]
        type = "mqtt"
        rules = "centos"
        url = "mqtt://localhost"
        client_id = "busmon"
        topics = ["#"]
    """)
    args = ("replay", CENTOS_FILE, "-c", configuration, "--format", "json")
    counts = from_json(busmon(*args).stdout)
    handled = ("git", "git.centos.org/git.receive", "handled", "")
    assert counts[handled] == 1
    assert {key[2:] for key in counts if key != handled} == {("ignored", "other-subtopic")}


def test_a_configuration_gives_names_rules_and_limits(configuration: Path) -> None:
    args = ("replay", FEDORA_FILE, CENTOS_FILE, "-c", configuration, "--format", "json")
    counts = from_json(busmon(*args).stdout)
    handled = {key for key in counts if key[2] == "handled"}
    start = "org.fedoraproject.prod.copr.build.start"
    assert {bus for bus, *_ in counts} == {"koji", "git"}
    assert ("koji", start, "ignored", "not-packit-user") in counts
    assert ("koji", "__other__", "unmapped", "") in counts
    assert ("git", "__other__", "handled", "") in handled
    assert counts.total() == len(FEDORA + CENTOS)
    assert not (configuration.parent / "ledger.sqlite").exists()
