"""`busmon gaps` and `busmon trace` beside a service that is killed."""

import json
from contextlib import closing
from functools import partial
from pathlib import Path
from urllib.request import Request, urlopen

from prometheus_client.parser import text_string_to_metric_families

from tests.support.brokers import wait_until
from tests.support.busmon_process import Busmon
from tests.support.command import busmon_process
from tests.support.past import BUS, IDS, TOKEN, TOPIC, Past


def make_busmon(directory: Path, window: int) -> Busmon:
    (directory / "nothing.jsonl").touch()
    files = [str(directory / "nothing.jsonl")]
    busmon = Busmon(directory, {BUS: {"type": "replay", "rules": "packit", "files": files}})
    busmon.configure(f'[audit]\nwindow = "{window}s"\ngrace = "1s"')
    busmon.configure(f'[audit.reports]\nbus = "{BUS}"\ntoken = "{TOKEN}"')
    return busmon


def audited(busmon: Busmon, name: str) -> dict[str, float]:
    """Return one of the audit's counters of the topic, by stage, without the zeros."""
    _, lines = busmon.ask(f"/metrics?name[]=busmon_audit_{name}_total")
    return {
        sample.labels["stage"]: sample.value
        for family in text_string_to_metric_families("\n".join(lines) + "\n")
        for sample in family.samples
        if sample.value and sample.labels["topic"] == TOPIC
    }


def post_report(busmon: Busmon, message_id: str) -> None:
    """Report, as the tap does, that a message was passed on."""
    report = {"id": message_id, "topic": TOPIC, "state": "passed", "task": f"task-of-{message_id}"}
    batch = {"tap": "t", "seq": 1, "bus": BUS, "since": 1, "until": 0, "lost": 0}
    request = Request(
        f"{busmon.url}/v1/reports",
        json.dumps(batch | {"reports": [report]}).encode(),
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    with urlopen(request, timeout=5) as answer:
        assert answer.status in (200, 204)


def has_more_windows(busmon: Busmon, number: int) -> bool:
    return audited(busmon, "messages").get("bus", 0) > number


def test_gaps_survive_a_kill_and_are_corrected_by_a_late_report(tmp_path: Path) -> None:
    past = Past(tmp_path)
    with closing(past.ledger):
        for message_id in IDS[:4]:
            past.receive(message_id, after=9)
        past.receive(IDS[4], after=9, handled=False)
        past.report(IDS[0])
        past.report(IDS[1], "dropped")
        past.report(IDS[4])
        past.watch(-100, 60)
    with make_busmon(tmp_path, past.window) as busmon:
        missing = {"listener": 3}
        wait_until(lambda: audited(busmon, "missing") == missing, what="the window to be closed")
        gaps = ("gaps", "--ledger", past.path)
        assert busmon_process(*gaps, "--format", "ids", status=1).stdout.split() == IDS[1:4]
        assert busmon.kill() == -9
        busmon.start()
        assert audited(busmon, "missing") == missing
        assert audited(busmon, "messages") == {"bus": 4, "listener": 1}
        assert audited(busmon, "unexpected") == {"listener": 1}

        post_report(busmon, IDS[2])
        recovered = {"listener": 1}
        wait_until(lambda: audited(busmon, "recovered") == recovered, what="the late report")
        assert audited(busmon, "missing") == missing
        config = tmp_path / "busmon.toml"
        table = busmon_process("gaps", "-c", config, status=1).stdout
        assert f"fedora  listener  {TOPIC}  2 missing\n" in table
        assert IDS[2] not in table
        text = busmon_process("trace", IDS[2], "-c", config).stdout
        assert f"passed as task task-of-{IDS[2]}, reported" in text
        assert "missing at the listener in the window that began" in text
        assert ", recovered by" in text


def test_kill_9_while_windows_are_closed_loses_and_doubles_none(tmp_path: Path) -> None:
    past = Past(tmp_path, window=1, begun=200)
    with closing(past.ledger):
        past.watch(-100, 1000)
        for n, message_id in enumerate(IDS[:150]):
            past.receive(message_id, after=n + 0.5)
            if n % 2:
                past.report(message_id)
    with make_busmon(tmp_path, past.window) as busmon:
        for part in (10, 60, 110):
            wait_until(
                partial(has_more_windows, busmon, part),
                what=f"{part} windows",
            )
            assert busmon.kill() == -9
            busmon.start()
        wait_until(lambda: audited(busmon, "messages").get("bus", 0) == 150, what="every window")
        assert audited(busmon, "messages") == {"bus": 150, "listener": 75}
        assert audited(busmon, "missing") == {"listener": 75}
