"""`busmon run` as a process: what it counts over restarts, what stops it, what it never logs."""

import json
import os
import re
import signal
import socket
import sys
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.samples import CENTOS, CENTOS_FILE, FEDORA, FEDORA_FILE
from tests.support.brokers import Server, free_port, wait_until
from tests.support.busmon_process import Busmon
from tests.support.pretenders import FEDORA_TOML, Pretender, pretended_buses, pretenders

PROJECT = Path(__file__).parents[1]
SAMPLES = {
    "fedora": {"type": "replay", "rules": "packit", "files": [str(FEDORA_FILE)]},
    "centos": {"type": "replay", "rules": "centos", "files": [str(CENTOS_FILE)]},
}
COUNTED = Counter([("fedora", *row) for row in FEDORA] + [("centos", *row) for row in CENTOS])


def failed(process: Server, status: int, seconds: float = 30) -> list[str]:
    """Run what is to fail, and return the lines that it leaves."""
    ready = Server(process.argv, process.log, cwd=PROJECT)
    with suppress(AssertionError):  # it may have ended before it was seen to run
        ready.start()
    assert ready.wait(seconds) == status, ready.output()
    assert "Traceback" not in ready.output()
    return ready.output().splitlines()


# Counting


def test_counters_are_exact_and_continue_over_a_restart(tmp_path: Path) -> None:
    with Busmon(tmp_path, SAMPLES) as busmon:
        wait_until(lambda: busmon.counts() == COUNTED, what="every message to be counted")
        assert busmon.duplicates() == {}
        assert busmon.ask("/ready") == (200, ["ready"])
        assert busmon.terminate() == 0
        busmon.start()
        again = {("fedora",): len(FEDORA), ("centos",): len(CENTOS)}
        wait_until(lambda: busmon.duplicates() == again, what="the same messages again")
        assert busmon.counts() == COUNTED


def test_a_ledger_in_memory_is_a_warning_and_leaves_no_file(tmp_path: Path) -> None:
    busmon = Busmon(tmp_path, SAMPLES)
    busmon.argv += ["--ledger", ":memory:"]
    with busmon:
        wait_until(lambda: busmon.counts() == COUNTED, what="every message to be counted")
        assert "WARNING the ledger is in memory: a restart sets all" in busmon.output()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["busmon.log", "busmon.toml"]


def test_the_environment_names_and_overrides_the_configuration(tmp_path: Path) -> None:
    busmon = Busmon(tmp_path, SAMPLES)
    variables = {
        "BUSMON_CONFIG": tmp_path / "busmon.toml",
        "BUSMON__BUSES__CENTOS__RULES": "all",
        "BUSMON__LIMITS__UNKNOWN_TOPICS": 1,
    }
    words = [f"{name}={value}" for name, value in variables.items()]
    busmon.argv = ["env", *words, sys.executable, "-m", "busmon", "run"]
    with busmon:
        wait_until(lambda: busmon.counts().total() == COUNTED.total(), what="every message")
        centos = {key[1:3]: n for key, n in busmon.counts().items() if key[0] == "centos"}
    assert centos == {
        ("git.centos.org/pull-request.new", "handled"): 1,
        ("git.centos.org/pull-request.new", "invalid"): 1,
        ("__other__", "handled"): len(CENTOS) - 2,
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with Busmon(tmp_path, SAMPLES) as busmon:
        os.kill(busmon.pid, number)
        assert busmon.wait() == 0
        assert "Traceback" not in busmon.output()


def test_nohup_keeps_it_running(tmp_path: Path) -> None:
    busmon = Busmon(tmp_path, SAMPLES)
    busmon.argv = ["nohup", *busmon.argv]
    with busmon:
        os.kill(busmon.pid, signal.SIGHUP)
        wait_until(lambda: busmon.counts() == COUNTED, what="every message to be counted")
        assert busmon.running
        assert busmon.terminate() == 0


# What keeps it from starting


def test_a_ledger_in_use_is_reported_in_one_line(tmp_path: Path) -> None:
    with Busmon(tmp_path, SAMPLES) as busmon:
        other = Server([*busmon.argv], tmp_path / "other.log")
        ledger = tmp_path / "ledger.sqlite"
        assert failed(other, 1) == [
            f"busmon: {ledger}: in use by another busmon; each needs its own"
        ]
        assert busmon.running


def test_a_missing_directory_of_the_ledger_is_reported_in_one_line(tmp_path: Path) -> None:
    busmon = Busmon(tmp_path, SAMPLES)
    busmon.argv += ["--ledger", str(tmp_path / "none" / "ledger.sqlite")]
    assert failed(busmon, 1) == [
        f"busmon: {tmp_path / 'none'}: no such directory; make it, writable for busmon"
    ]


def test_a_file_that_is_no_ledger_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"no database" * 1000)
    (line,) = failed(Busmon(tmp_path, SAMPLES), 1)
    assert line.startswith(f"busmon: {tmp_path / 'ledger.sqlite'}: not a ledger of busmon, or ")


def test_a_full_disk_at_the_first_start_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "fedora.toml").write_text(FEDORA_TOML.format(password="", port=free_port()))
    bus = {"type": "amqp", "rules": "packit", "config": "fedora.toml"}
    busmon = Busmon(tmp_path, {"fedora": bus})
    busmon.argv = ["prlimit", "--fsize=4096", *busmon.argv]
    (line,) = failed(busmon, 1)
    assert line.startswith(f"busmon: {tmp_path / 'ledger.sqlite'}: cannot be ")


def test_a_port_in_use_is_reported_in_one_line(tmp_path: Path) -> None:
    busmon = Busmon(tmp_path, SAMPLES)
    with socket.create_server(("127.0.0.1", busmon.port)):
        assert failed(busmon, 1) == [
            f"busmon: cannot listen on 127.0.0.1:{busmon.port}: Address already in use"
        ]


def test_a_wrong_configuration_is_reported_before_anything_is_opened(tmp_path: Path) -> None:
    busmon = Busmon(tmp_path, SAMPLES)
    busmon.configure('[log]\nlevel = "loud"\n[web]\ncolour = "blue"')
    text = (tmp_path / "busmon.toml").read_text()
    assert failed(busmon, 2)[0].startswith(f"busmon: {tmp_path / 'busmon.toml'}: ")  # [web] twice
    (tmp_path / "busmon.toml").write_text(text.replace("[web]\ncolour", "[limits]\ncolour"))
    with socket.create_server(("127.0.0.1", busmon.port)):  # status 1, if it listened
        lines = failed(busmon, 2)
    assert [line.split(": ")[1] for line in lines] == ["log.level", "limits.colour"]
    assert not (tmp_path / "ledger.sqlite").exists()


# While it runs


def test_log_lines_in_json_are_objects(tmp_path: Path) -> None:
    busmon = Busmon(tmp_path, SAMPLES)
    busmon.configure('[log]\nformat = "json"\nlevel = "debug"')
    with busmon:
        wait_until(lambda: busmon.counts() == COUNTED, what="every message to be counted")
        assert busmon.terminate() == 0
    entries = [json.loads(line) for line in busmon.output().splitlines()]
    assert {"time", "level", "logger", "message"} == set.union(*map(set, entries))
    messages = {entry["message"] for entry in entries if entry["logger"].startswith("busmon")}
    assert {f"listening on {busmon.url}", "stopping"} <= messages


def test_log_lines_show_the_time_in_utc(tmp_path: Path) -> None:
    busmon = Busmon(tmp_path, SAMPLES)
    busmon.put_into_environment(TZ="Asia/Tokyo")
    with busmon:
        wait_until(lambda: busmon.logged("listening on"), what="a line of the log")
    [date, time, zone, level, *_] = busmon.output().split()
    assert (zone, level) == ("UTC", "INFO")
    logged = datetime.fromisoformat(f"{date}T{time}+00:00")
    assert abs(datetime.now(UTC) - logged) < timedelta(hours=1)


# Servers that stand in for brokers


def test_brokers_that_hang_do_not_hold_up_the_end(tmp_path: Path) -> None:
    with pretenders(hang=True) as named:
        ports = {name: pretender.port for name, pretender in named.items()}
        configured = pretended_buses(tmp_path, "", **ports)
        configured["mqtt"]["password"] = configured["stomp"]["passcode"] = "secret"
        with Busmon(tmp_path, configured) as busmon:
            wait_until(lambda: all(p.heard for p in named.values()), what="every bus to connect")
            status, lines = busmon.ask("/ready")
            assert status == 503
            assert [line.partition(":")[0] for line in lines] == ["amqp", "mqtt", "stomp"]
            assert busmon.terminate(10) == 0  # 5 s, on a machine that is not busy


def test_no_broker_can_forge_a_line_of_the_log(tmp_path: Path) -> None:
    error = b"ERROR\nmessage:full\\n2026-01-01 00:00:00.000 UTC INFO all is well\x1b[31m\n\n\x00"
    pretender = Pretender(error)
    bus = {
        "type": "stomp",
        "rules": "all",
        "brokers": [f"127.0.0.1:{pretender.port}"],
        "destinations": ["/topic/a"],
    }
    with Busmon(tmp_path, {"umb": bus}) as busmon:
        wait_until(lambda: busmon.logged("all is well"), what="the broker's words in the log")
        assert busmon.terminate() == 0
    pretender.close()
    lines = busmon.output().splitlines()
    assert not [line for line in lines if not re.match(r"[\d-]+ [\d:.]+ UTC (INFO|WARNING) ", line)]
    assert not [line for line in lines if line.startswith("2026-01-01") or not line.isprintable()]
