"""`busmon gaps` and `busmon trace` as users run them, beside a busmon that runs."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.request import Request, urlopen
from uuid import UUID

import pytest
from prometheus_client.parser import text_string_to_metric_families

from busmon.audit.windows import AuditWindows, Observed
from busmon.ledger.batch import Observation, Series
from busmon.ledger.ledger import Ledger
from busmon.ledger.tap_reports import TapReport
from busmon.ledger.windows import Place, Totals, WindowRow
from busmon.message import Stage
from busmon.settings.audit import Audit
from tests.support.brokers import wait_until
from tests.support.busmon_process import Busmon
from tests.support.command import busmon as command

TOPIC = "org.fedoraproject.prod.copr.build.end"
TOKEN = "s3cret-of-the-tap"
IDS = [str(UUID(int=n)) for n in range(400)]


class Past:
    """A ledger that knows of some minutes before now: what was seen, and when the tap saw."""

    def __init__(self, directory: Path, window: int = 4, begun: float = 120) -> None:
        self.path = str(directory / "ledger.sqlite")
        self.window = window
        self.start = (time.time() - begun) // window * window
        self.audit = Audit(window=window, grace=1)
        self.ledger = Ledger(self.path)
        self.books = AuditWindows(self.ledger, self.audit, Observed(tap="fedora"), ["fedora"])
        self.books.open(self.start)

    def see(self, identity: str, after: float, handled: bool = True, sent: float = 0.25) -> None:
        said = ("handled", "") if handled else ("ignored", "releng")
        at = self.start + after
        self.ledger.record([Observation(Series("fedora", TOPIC, *said), identity, at, at - sent)])

    def report(self, identity: str, state: str = "passed") -> None:
        task = f"task-of-{identity}" if state == "passed" else None
        with self.ledger.write() as tables:
            reports = [TapReport(identity, TOPIC, state, task)]
            tables.tap_reports.add("fedora", reports, self.start)

    def watch(self, since: float, until: float) -> None:
        span = self.start + since, self.start + until
        with self.ledger.write() as tables:
            tables.coverage.add_span("tap:fedora", *span, max_gap=0)

    def close(self, until: float) -> None:
        while self.books.close_next(self.start + until):
            pass


@pytest.fixture
def past(tmp_path: Path) -> Iterator[Past]:
    past = Past(tmp_path)
    with closing(past.ledger):
        yield past


def make_busmon(directory: Path, window: int) -> Busmon:
    (directory / "nothing.jsonl").touch()
    files = [str(directory / "nothing.jsonl")]
    bus = {"type": "replay", "rules": "packit", "files": files}
    busmon = Busmon(directory, {"fedora": bus})
    busmon.configure(f'[audit]\nwindow = "{window}s"\ngrace = "1s"')
    busmon.configure(f'[audit.reports]\nbus = "fedora"\ntoken = "{TOKEN}"')
    return busmon


def audited(busmon: Busmon, name: str) -> dict[str, float]:
    """Return one of the audit's counters of the topic, by stage, without the zeros."""
    _, lines = busmon.ask(f"/metrics?name[]=busmon_audit_{name}_total")
    return {
        sample.labels["stage"]: sample.value
        for family in text_string_to_metric_families("\n".join(lines) + "\n")
        for sample in family.samples
        if sample.value and sample.labels.get("topic", TOPIC) == TOPIC
    }


def post(busmon: Busmon, *ids: str) -> None:
    """Report as the tap does that these messages were passed."""
    reports = [
        {"id": one, "topic": TOPIC, "state": "passed", "task": f"task-of-{one}"} for one in ids
    ]
    batch = {"tap": "t", "seq": 1, "bus": "fedora", "since": 1, "until": 0, "lost": 0}
    request = Request(
        f"{busmon.url}/v1/reports",
        json.dumps(batch | {"reports": reports}).encode(),
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    with urlopen(request, timeout=5) as answer:
        assert answer.status in (200, 204)


def run(*words: str | Path, status: int = 0) -> str:
    ended = command(*words, status=status)
    return ended.stdout or ended.stderr


def test_gaps_and_trace_beside_a_busmon_that_is_killed_and_corrected(tmp_path: Path) -> None:
    past = Past(tmp_path)
    with closing(past.ledger):
        for n in range(4):
            past.see(IDS[n], after=9)
        past.see(IDS[4], after=9, handled=False)
        past.report(IDS[0])
        past.report(IDS[1], "dropped")
        past.report(IDS[4])
        past.watch(-100, 60)
    with make_busmon(tmp_path, past.window) as busmon:
        missing = {"listener": 3}
        wait_until(lambda: audited(busmon, "missing") == missing, what="the window to be closed")
        assert run("gaps", "--ledger", past.path, "--format", "ids", status=1).split() == IDS[1:4]
        assert busmon.kill() == -9
        busmon.start()
        assert audited(busmon, "missing") == missing
        assert audited(busmon, "messages") == {"bus": 4, "listener": 1}
        assert audited(busmon, "unexpected") == {"listener": 1}

        post(busmon, IDS[2])
        recovered = {"listener": 1}
        wait_until(lambda: audited(busmon, "recovered") == recovered, what="the late report")
        assert audited(busmon, "missing") == missing
        config = tmp_path / "busmon.toml"
        table = run("gaps", "-c", config, status=1)
        assert f"fedora  listener  {TOPIC}  2 missing\n" in table
        assert f"\n    fedora-messaging reconsume {IDS[1]}\n" in table
        assert IDS[2] not in table
        assert "fedora  listener  no data: of 0 messages it is not known that" in table
        told = run("trace", IDS[2], "-c", config)
        assert f"passed as task task-of-{IDS[2]}, reported" in told
        assert "missing at the listener in the window of" in told
        assert ", recovered by" in told
        (facts,) = json.loads(run("trace", IDS[1], "--ledger", past.path, "--json"))
        assert (facts["bus"], facts["outcome"], facts["state"]) == ("fedora", "handled", "dropped")
        assert facts["received_at"] - facts["sent_at"] == pytest.approx(0.25)


def test_kill_9_while_windows_are_closed_neither_loses_nor_doubles_one(tmp_path: Path) -> None:
    past = Past(tmp_path, window=1, begun=200)
    with closing(past.ledger):
        past.watch(-100, 1000)
        for n in range(150):
            past.see(IDS[n], after=n + 0.5)
            if n % 2:
                past.report(IDS[n])
    with make_busmon(tmp_path, past.window) as busmon:
        for part in (10, 60, 110):
            wait_until(
                lambda: audited(busmon, "messages").get("bus", 0) > part,  # noqa: B023 - called at once
                what=f"{part} windows",
            )
            assert busmon.kill() == -9
            busmon.start()
        wait_until(lambda: audited(busmon, "messages").get("bus", 0) == 150, what="every window")
        assert audited(busmon, "messages") == {"bus": 150, "listener": 75}
        assert audited(busmon, "missing") == {"listener": 75}


def test_where_nothing_is_missing_gaps_says_so_and_exits_with_0(past: Past) -> None:
    past.watch(-100, 100)
    past.see(IDS[0], after=1)
    past.report(IDS[0])
    past.close(40)
    text = run("gaps", "--ledger", past.path)
    assert text.startswith("Nothing is known to be missing since ")
    assert "The books are closed up to " in text
    assert run("gaps", "--ledger", past.path, "--format", "ids") == ""
    answer = json.loads(run("gaps", "--ledger", past.path, "--format", "json"))
    assert (answer["gaps"], answer["no_data"]) == ([], [])
    assert {"bus": "fedora", "stage": "listener"} in answer["audited"]


def test_gaps_of_a_time_a_bus_or_a_topic_only(past: Past) -> None:
    past.watch(-100, 100)
    past.see(IDS[0], after=1)
    past.close(40)
    past.ledger.close()
    asked = ("gaps", "--ledger", past.path)
    assert IDS[0] in run(*asked, "--bus", "fedora", "--topic", TOPIC, "--since", "10m", status=1)
    for words in (["--since", "30s"], ["--bus", "centos"], ["--topic", "another"]):
        assert IDS[0] not in run(*asked, *words)


def test_times_without_data_are_no_gaps_but_unconfirmed(past: Past) -> None:
    past.watch(-100, 2)
    past.see(IDS[0], after=1)
    past.see(IDS[1], after=5)
    past.report(IDS[1])
    past.close(60)
    (told,) = json.loads(run("gaps", "--ledger", past.path, "--format", "json"))["no_data"]
    assert (told["stage"], told["windows"], told["unconfirmed"]) == ("listener", 7, 1)
    assert told["until"] - told["start"] == 28
    assert told["messages"] == []
    text = run("gaps", "--ledger", past.path)
    assert "of 1 message it is not known that" in text
    assert IDS[0] not in text


def test_unconfirmed_messages_are_listed_on_request(past: Past) -> None:
    """After a deployment of the listener these are the ones that may be lost."""
    past.watch(-100, 2)
    past.see(IDS[0], after=1)
    past.see(IDS[1], after=5)
    past.report(IDS[1])
    past.see(IDS[2], after=6, handled=False)
    past.close(60)
    asked = ("gaps", "--ledger", past.path, "--unconfirmed")
    assert run(*asked, "--format", "ids") == f"{IDS[0]}\n"
    assert f"    fedora-messaging reconsume {IDS[0]}\n" in run(*asked)
    (told,) = json.loads(run(*asked, "--format", "json"))["no_data"]
    assert [message["id"] for message in told["messages"]] == [IDS[0]]


def test_what_is_missing_by_numbers_is_listed_without_ids(past: Past) -> None:
    place = Place("fedora", "", Stage.LISTENER)
    totals = [Totals(messages=7, missing=3), Totals(messages=9)]
    with past.ledger.write() as tables:
        for start, of in zip((past.start, past.start + 4), totals, strict=True):
            tables.windows.add([WindowRow(start, start + 4, place, of, exact=False)])
    text = run("gaps", "--ledger", past.path, status=1)
    assert "UTC  fedora  listener  at least 3 missing, by numbers\n    which ones is not" in text
    assert "\n3 messages missing since " in text
    (gap,) = json.loads(run("gaps", "--ledger", past.path, "--format", "json", status=1))["gaps"]
    assert (gap["missing"], gap["exact"], gap["topic"], gap["messages"]) == (3, False, "", [])
    assert run("gaps", "--ledger", past.path, "--format", "ids", status=1) == ""
    assert "Nothing is known to be" in run("gaps", "--ledger", past.path, "--topic", TOPIC)


def test_without_a_tap_gaps_says_that_nothing_is_known_of_the_listener(past: Past) -> None:
    past.books = AuditWindows(past.ledger, past.audit, Observed(), ["fedora"])
    past.see(IDS[0], after=1)
    past.close(40)
    text = run("gaps", "--ledger", past.path)
    assert "fedora: no tap reports, so that nothing is known of its listener." in text


@pytest.mark.parametrize(
    ("bus", "told"),
    [
        ('type = "replay"\nfiles = ["busmon.toml"]', f"    fedora-messaging reconsume {IDS[0]}\n"),
        (
            'type = "amqp"\nconfig = "the listener.toml"',
            f"    fedora-messaging --conf '{{directory}}/the listener.toml' reconsume {IDS[0]}\n",
        ),
        (
            'type = "mqtt"\nurl = "mqtt://localhost"\nclient_id = "b"\ntopics = ["#"]',
            f"    {IDS[0]}: there is no archive to take it from again\n",
        ),
    ],
)
def test_each_bus_has_its_own_way_to_recover(
    past: Past, tmp_path: Path, bus: str, told: str
) -> None:
    past.watch(-100, 100)
    past.see(IDS[0], after=1)
    past.see("no-uuid", after=1)
    past.close(40)
    (tmp_path / "the listener.toml").write_text(
        'amqp_url = "amqp://localhost"\n[[bindings]]\nexchange = "amq.topic"\nrouting_keys = ["#"]'
    )
    config = tmp_path / "busmon.toml"
    config.write_text(f'[ledger]\npath = "ledger.sqlite"\n[buses.fedora]\nrules = "all"\n{bus}\n')
    text = run("gaps", "-c", config, status=1)
    assert told.format(directory=tmp_path) in text
    assert "    no-uuid: there is no archive to take it from again\n" in text


def test_an_unknown_message_is_reported_with_the_age_of_the_ledger(past: Past) -> None:
    text = run("trace", IDS[0], "--ledger", past.path, status=1)
    assert text == f"{IDS[0]}: not on record; the ledger holds no message yet\n"
    past.see(IDS[1], after=1)
    text = run("trace", IDS[0], "--ledger", past.path, status=1)
    assert text.startswith(f"{IDS[0]}: not on record; the ledger holds messages since 20")
    assert run("trace", IDS[0], "--ledger", past.path, "--json", status=1) == "[]\n"


def test_trace_shows_each_stage(past: Past) -> None:
    past.watch(-100, 100)
    past.see(IDS[0], after=1)
    past.report(IDS[0])
    past.see(IDS[1], after=1, handled=False)
    past.report(IDS[2])
    start = past.start
    with past.ledger.write() as tables:
        tables.tasks.receive(f"task-of-{IDS[0]}", "t", start + 2)
        for state in ("started", "retried", "started", "retried", "started", "failed"):
            tables.tasks.change(f"task-of-{IDS[0]}", state, start + 3)
    first, second, third = (run("trace", one, "--ledger", past.path) for one in IDS[:3])
    assert f"  topic     {TOPIC}\n" in first
    assert "UTC, 0.250 s after it was sent\n  judged    handled\n" in first
    assert "\n  worker    failed, received 20" in first
    assert first.endswith(", retries 2\n")
    assert "\n  judged    ignored releng\n" in second
    assert "not known to have had it: although its tap was reporting at that time" in second
    assert "\n  seen      never by busmon, or longer ago than it remembers\n" in third


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["gaps", "--ledger", "missing.sqlite"], "busmon: missing.sqlite: no such ledger\n"),
        (["trace", "1", "--ledger", "README.md"], "busmon: README.md: "),
        (["gaps", "-c", "missing.toml"], "busmon: missing.toml: No such file or directory\n"),
        (["gaps", "--since", "yesterday"], "should be a number and a unit: 90m, 24h, 7d\n"),
        (["trace"], "Missing argument 'ID'.\n"),
    ],
)
def test_what_cannot_be_read_ends_with_status_2(words: list[str], told: str) -> None:
    assert told in run(*words, status=2)
