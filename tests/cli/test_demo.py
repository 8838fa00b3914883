"""`busmon demo`: what it shows, and how it ends."""

import os
import re
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal
from urllib.request import urlopen

import pytest

from busmon.web.pages.site import TOO_SLOW
from tests.support.brokers import Server, wait_until
from tests.support.command import busmon, busmon_process
from tests.support.exposition import counter

OUTCOMES = {"handled", "ignored", "unmapped", "invalid", "error"}
CENTOS_OUTCOMES = {"handled", "error"}


def listening(server: Server) -> bool:
    return server.logged("http://")


def demo(
    directory: Path,
    *words: str,
    sighup: Literal["default", "ignore"] = "default",
    ready: Callable[[Server], bool] = listening,
) -> Server:
    """Return a demo that keeps its temporary files in `directory`.

    It starts with SIGHUP as a terminal has it, or ignored, as `nohup` has it; without that it
    would be as the test session was started.
    """
    program = ["env", f"--{sighup}-signal=HUP", sys.executable, "-m", "busmon"]
    return Server(
        [*program, "demo", "--listen", "127.0.0.1:0", "--empty", *words],
        directory / "log",
        env={"TMPDIR": str(directory)},
        ready=ready,
    )


def test_the_demo_serves_every_outcome_of_both_buses(tmp_path: Path) -> None:
    with demo(tmp_path, "--rate", "3000") as server:
        url = server.output().split()[0]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
        with urlopen(url, timeout=10) as answer:
            assert b"<h1>Overview</h1>" in answer.read()

        def outcomes(bus: str) -> set[str]:
            with urlopen(f"{url}metrics", timeout=10) as answer:
                counts = counter(answer.read().decode(), bus=bus)
            return {outcome for _, _, outcome, _ in counts}

        wait_until(lambda: outcomes("fedora") == OUTCOMES, what="all outcomes of fedora")
        wait_until(lambda: outcomes("centos") == CENTOS_OUTCOMES, what="all outcomes of centos")
        find = ("find", "package:bash", "--topic", "copr.build.end", "--url", url)
        bash = r"\n    build \d+, project bash-main, package bash, nvr bash-1.2-1\n"

        def found() -> str:
            try:
                return busmon(*find).stdout
            except AssertionError as error:  # on a busy machine it may take more than its second
                if TOO_SLOW not in str(error):
                    raise
                return ""

        wait_until(lambda: re.search(bash, found()), what="the builds of bash")

        def passed_on() -> bool:
            with urlopen(f"{url}metrics", timeout=10) as answer:
                reports = re.search(
                    rb'tap_reports_total{bus="fedora",state="passed"} (.*)', answer.read()
                )
            return reports is not None and float(reports[1]) > 0

        wait_until(passed_on, what="a report of the made-up listener")
        assert list(tmp_path.glob("busmon-demo-*/ledger.sqlite"))
        assert server.terminate() == 0
        assert "Traceback" not in server.output()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGINT], [signal.SIGHUP], [signal.SIGTERM, signal.SIGINT, signal.SIGTERM]],
    ids=lambda signals: "+".join(number.name for number in signals),
)
def test_the_demo_ends_in_order_however_it_is_interrupted(
    tmp_path: Path, signals: list[signal.Signals]
) -> None:
    with demo(tmp_path) as server:
        for number in signals:
            os.kill(server.pid, number)
        assert server.wait() == 0
        assert "Traceback" not in server.output()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_under_nohup_the_demo_outlives_its_terminal(tmp_path: Path) -> None:
    with demo(tmp_path, sighup="ignore") as server:
        os.kill(server.pid, signal.SIGHUP)
        url = server.output().split()[0]
        with urlopen(f"{url}metrics", timeout=10) as answer:
            assert b"busmon_messages_total" in answer.read()
        assert server.terminate() == 0


def test_the_demo_ends_in_order_when_it_is_interrupted_in_its_start(tmp_path: Path) -> None:
    def waits_for_signals(server: Server) -> bool:
        status = Path(f"/proc/{server.pid}/status").read_text()
        masks = re.findall(r"(?m)^Sig(Blk|Cgt):\s+(\w+)$", status)
        blocked, caught = (int(mask, 16) for _, mask in masks)
        # No program before Python catches signals, and a thread's start blocks all for a moment.
        return bool(blocked & caught & 1 << signal.SIGINT - 1) and blocked.bit_count() == 3

    with demo(tmp_path, ready=waits_for_signals) as server:
        os.kill(server.pid, signal.SIGINT)
        assert server.wait(60) == 0
        assert "Traceback" not in server.output()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_the_demo_reports_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = busmon_process(
            "demo", "--empty", "--listen", address, env={"TMPDIR": str(tmp_path)}, status=1
        )
    assert ended.stderr == f"busmon: cannot listen on {address}: Address already in use\n"
    assert list(tmp_path.iterdir()) == []
