"""The standard streams of the commands: pipes, terminals, closed and full ones."""

import gzip
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.samples import CENTOS_FILE, FEDORA, FEDORA_FILE
from tests.support.command import busmon_process

MODULE = (sys.executable, "-m", "busmon")


def test_a_reader_that_has_enough_ends_it_silently(tmp_path: Path) -> None:
    large = tmp_path / "large.jsonl"
    large.write_bytes(FEDORA_FILE.read_bytes() * 20)
    with subprocess.Popen(
        [*MODULE, "explain", large],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline().startswith(b"org.fedoraproject.prod.copr.build.start ")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 1


def test_an_explanation_comes_as_soon_as_its_message() -> None:
    """As in `fedora-messaging record … | busmon explain | grep handled`."""
    with subprocess.Popen(
        [*MODULE, "explain"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin
        assert process.stdout
        for line in CENTOS_FILE.read_bytes().splitlines()[:3]:
            process.stdin.write(line + b"\n")
            process.stdin.flush()
            assert b"handled" in process.stdout.readline()
        process.stdin.close()
        assert process.wait(30) == 0


def test_a_full_disk_and_a_poor_character_set_are_survived() -> None:
    line = '{"topic": "größe", "payload": {}}'.encode()
    output = busmon_process("explain", stdin=line, env={"PYTHONIOENCODING": "ascii"}).stdout
    assert output.startswith("gr\\xf6\\xdfe ")
    for command in ("explain", "replay"):
        program = ["sh", "-c", 'exec "$@" > /dev/full', "sh", *MODULE]
        ended = busmon_process(command, FEDORA_FILE, program=program, status=1)
        assert ended.stderr == "busmon: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("packed", [False, True])
def test_a_progress_bar_is_shown_on_a_terminal_and_leaves_bad_lines_whole(
    tmp_path: Path, packed: bool
) -> None:
    data = b"{\n" + FEDORA_FILE.read_bytes() * 3
    path = tmp_path / ("large.jsonl.gz" if packed else "large.jsonl")
    path.write_bytes(gzip.compress(data) if packed else data)
    master, slave = pty.openpty()
    with subprocess.Popen(
        [*MODULE, "replay", path, "--format", "json"],
        stdout=subprocess.PIPE,
        stderr=slave,
    ) as process:
        os.close(slave)
        shown = b"".join(_read_all(master)).decode()
        assert process.stdout
        assert sum(row["messages"] for row in json.load(process.stdout)) == 3 * len(FEDORA) + 1
    assert process.returncode == 0
    assert "Counting  [" in shown
    assert "100%" in shown
    assert f"\r\033[K{path}:1: not-json\r\n" in shown


def _read_all(terminal: int) -> Iterator[bytes]:
    with open(terminal, "rb", buffering=0) as file:
        try:
            while part := file.read(4096):
                yield part
        except OSError:  # Linux: nobody holds the other end
            return


def test_closed_standard_streams_do_no_harm() -> None:
    for command, closed in [("replay", "2>&-"), ("explain", "2>&-"), ("replay", ">&-")]:
        program = ["sh", "-c", f'exec "$@" {closed}', "sh", *MODULE]
        ended = busmon_process(command, FEDORA_FILE, program=program)
        assert ended.stderr == ""
        assert ("copr.build.start" in ended.stdout) == (closed == "2>&-")
    program = ["sh", "-c", 'exec "$@" <&-', "sh", *MODULE]
    ended = busmon_process("explain", program=program, status=1)
    assert ended.stderr == "busmon: -: cannot be read to its end: Bad file descriptor\n"
