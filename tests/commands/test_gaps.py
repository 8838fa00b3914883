"""`busmon gaps`: what it prints of a ledger."""

import json
from pathlib import Path
from typing import Any

import pytest

from busmon.audit.scope import Observed
from busmon.cli.times import TIME
from busmon.commands.reconsume import NAME_THE_CALLBACK
from busmon.ledger.batch import Observation, Series
from busmon.ledger.incidents import Incident
from busmon.ledger.ledger import Ledger
from busmon.ledger.values import Interval
from busmon.text import format_span, format_time
from tests.support.command import busmon
from tests.support.past import BUS, IDS, TOPIC, Past


def gaps(past: Past, *words: str, status: int = 0) -> str:
    return busmon("gaps", "--ledger", past.path, *words, status=status).stdout


def gaps_json(past: Past, *words: str, status: int = 0) -> Any:
    return json.loads(gaps(past, "--format", "json", *words, status=status))


def test_missing_messages_are_listed_with_the_command_to_consume_them(past: Past) -> None:
    past.watch(-100, 100)
    past.receive(IDS[0], after=1)
    past.receive(IDS[1], after=1)
    past.report(IDS[1], "dropped")
    past.receive(IDS[2], after=1)
    past.report(IDS[2])
    past.close(40)
    table = gaps(past, status=1)
    assert f"UTC  fedora  listener  {TOPIC}  2 missing\n" in table
    for one in IDS[:2]:
        assert f"\n    fedora-messaging reconsume {one}\n" in table
    assert IDS[2] not in table
    assert "\n2 messages of 1 window are still missing\n" in table
    assert gaps(past, "--format", "ids", status=1).split() == IDS[:2]
    (gap,) = gaps_json(past, status=1)["gaps"]
    assert (gap["start"], gap["until"]) == (past.start, past.start + past.window)
    place = {"bus": BUS, "stage": "listener", "topic": TOPIC}
    assert place | {"state": "missing", "estimated": False, "number": 2} == {
        key: gap[key] for key in (*place, "state", "estimated", "number")
    }
    assert gap["messages"][0] == {
        "id": IDS[0],
        "reconsume": f"fedora-messaging reconsume {IDS[0]}",
    }


def test_without_gaps_it_says_so_and_exits_with_0(past: Past) -> None:
    past.watch(-100, 100)
    past.receive(IDS[0], after=1)
    past.report(IDS[0])
    past.close(40)
    table = gaps(past)
    assert table.startswith("No message is known to be missing\n")
    assert "\nWindows are closed up to 20" in table
    assert gaps(past, "--format", "ids") == ""
    answer = gaps_json(past)
    assert (answer["gaps"], answer["no_data"]) == ([], [])
    assert {"bus": BUS, "stage": "listener"} in answer["audited"]


def test_before_the_first_window_is_closed_it_says_so(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger(str(path)).close()
    table = busmon("gaps", "--ledger", path).stdout
    assert table.endswith("\nNo window is closed yet.\n")


def test_gaps_can_be_asked_of_a_time_a_bus_or_a_topic(past: Past) -> None:
    past.watch(-100, 100)
    past.receive(IDS[0], after=1)
    past.close(40)
    began, ended = format_time(past.start), format_time(past.start + past.window)
    for since in ("10m", began):
        assert IDS[0] in gaps(past, "--bus", BUS, "--topic", TOPIC, "--since", since, status=1)
    past.ledger.record([Observation(Series("centos", "another", "handled", ""), "1", past.start)])
    for words in (
        ("--since", "30s"),
        ("--since", ended),
        ("--bus", "centos"),
        ("--topic", "another"),
    ):
        assert IDS[0] not in gaps(past, *words)


def test_open_gaps_are_listed_however_old_and_ended_ones_on_request(past: Past) -> None:
    past.watch(-100, 100)
    for n in range(3):
        past.receive(IDS[n], after=1 + 4 * n)
    past.close(40)
    past.report(IDS[1])
    past.windows.correct(past.start + 41)
    with past.ledger.write() as tables:
        (*_, newest) = tables.open_messages.older(past.start + 100, 10)
        message = newest._replace(estimated=True)
        tables.open_messages.add([message])
    table = gaps(past, "--all", status=1)
    assert f"  {TOPIC}  1 recovered\n    {IDS[1]}\n" in table
    assert f"  {TOPIC}  1 missing, known to a minute\n    fedora-messaging" in table
    later = past.start + 1e7
    while past.windows.prune(later, 86400) or past.ledger.prune(later, 1):
        pass
    table = gaps(past, status=1)
    assert "\n2 messages of 2 windows are still missing\n" in table
    assert gaps(past, "--format", "ids", status=1).split() == [IDS[0], IDS[2]]
    assert IDS[1] not in table


def unconfirmed(past: Past) -> Past:
    """Let the tap watch no longer than the first message."""
    past.watch(-100, 2)
    past.receive(IDS[0], after=1)
    past.receive(IDS[1], after=5)
    past.report(IDS[1])
    past.receive(IDS[2], after=6, handled=False)
    past.close(60)
    return past


def test_a_time_without_data_is_no_gap_but_proves_nothing(past: Past) -> None:
    (no_data,) = gaps_json(unconfirmed(past))["no_data"]
    assert (no_data["stage"], no_data["windows"], no_data["unconfirmed"]) == ("listener", 1, 1)
    assert no_data["until"] - no_data["start"] == past.window
    assert no_data["messages"] == []
    table = gaps(past)
    assert "fedora  listener  no data: 1 message not confirmed as passed on\n" in table
    assert "Absence of data proves nothing. --unconfirmed lists what may be missing." in table
    assert IDS[0] not in table


def test_a_time_without_data_and_without_messages_is_not_listed(past: Past) -> None:
    past.watch(-100, 2)
    past.close(60)
    assert gaps_json(past)["no_data"] == []
    assert gaps(past, "--since", "1h").startswith("No message is known to be missing since 20")


def test_gaps_and_times_without_data_are_listed_in_order_of_time(past: Past) -> None:
    past.watch(-100, 2)
    past.receive(IDS[0], after=1)
    past.watch(40, 100)
    past.receive(IDS[1], after=41)
    past.receive(IDS[2], after=61)
    past.close(80)
    times = [line[:19] for line in gaps(past, status=1).splitlines() if "  fedora  " in line]
    assert len(times) == 3
    assert times == sorted(times)


def test_times_without_data_of_several_stages_are_in_order_of_time(past: Past) -> None:
    past.watch(-100, 100)
    past.receive(IDS[0], after=5)
    past.receive(IDS[1], after=41)
    blind = [Interval(past.start + at, past.start + at + 1) for at in (5, 41)]
    with past.ledger.write() as tables:
        tables.blind_times.save(BUS, past.start + 100, 2, blind)
    past.close(80)
    found = [(one["start"], one["stage"]) for one in gaps_json(past)["no_data"]]
    assert [stage for _, stage in found] == ["bus", "listener"] * 2
    assert found == sorted(found)


def test_unconfirmed_messages_are_listed_on_request(past: Past) -> None:
    """After a deployment of the listener these are the ones that may be lost."""
    unconfirmed(past)
    assert gaps(past, "--unconfirmed", "--format", "ids") == f"{IDS[0]}\n"
    assert f"    fedora-messaging reconsume {IDS[0]}\n" in gaps(past, "--unconfirmed")
    (no_data,) = gaps_json(past, "--unconfirmed")["no_data"]
    assert [message["id"] for message in no_data["messages"]] == [IDS[0]]


def test_a_blind_time_of_busmon_is_no_data_of_every_stage(past: Past) -> None:
    past.watch(-100, 100)
    past.receive(IDS[0], after=4)
    with past.ledger.write() as tables:
        tables.blind_times.save(BUS, past.start + 5, 0, [])
    past.close(60)
    table = gaps(past)
    assert (
        "UTC  fedora  bus  no data: busmon did not receive for a part of this time, or all of it\n"
        in table
    )
    assert "UTC  fedora  listener  no data: 1 message not confirmed as passed on\n" in table


def test_without_a_tap_nothing_is_known_of_the_listener(past: Past) -> None:
    past.audit(Observed())
    past.receive(IDS[0], after=1)
    past.close(40)
    assert "fedora: there is no tap, so nobody knows what its listener passes on." in gaps(past)


TEMPORARY = """
amqp_url = "amqp://localhost"
[queues.a]
durable = false
auto_delete = true
exclusive = true
arguments = {}
[[bindings]]
queue = "a"
exchange = "amq.topic"
routing_keys = ["#"]
"""


def test_an_absence_of_the_listener_explains_what_is_missing(past: Past, tmp_path: Path) -> None:
    past.audit(Observed(temporary=frozenset({BUS}), queues=frozenset({BUS})))
    past.receive(IDS[0], after=1)
    past.watch(0, 2, kind="absent")
    past.close(40)
    past.windows.correct(past.start + 60)
    with past.ledger.write() as tables:
        tables.incidents.save([Incident(BUS, "listener", past.start + 2, past.start + 3)])
    (tmp_path / "listener.toml").write_text(TEMPORARY)
    config = tmp_path / "busmon.toml"
    config.write_text(
        '[ledger]\npath = "ledger.sqlite"\n[buses.fedora]\nrules = "all"\n'
        'type = "amqp"\nconfig = "listener.toml"\n'
    )
    table = busmon("gaps", "-c", str(config), status=1).stdout
    assert f"fedora  listener  {TOPIC}  1 missing, known to a minute\n" in table
    assert (
        "known to a minute: what came meanwhile is lost, but for up to a minute at each end.\n"
        in table
    )
    absent = format_span(past.start, past.start + 2)
    incident = busmon("incidents", "-c", str(config)).stdout
    assert f"    the listener had no queue from {absent}, known to a minute: what" in incident
    found = json.loads(busmon("gaps", "-c", str(config), "--format", "json", status=1).stdout)
    assert found["absences"] == [
        {"bus": BUS, "since": past.start, "until": past.start + 2, "estimated": True}
    ]


@pytest.mark.parametrize(
    ("bus", "line"),
    [
        ('type = "replay"\nfiles = ["busmon.toml"]', f"    fedora-messaging reconsume {IDS[0]}\n"),
        (
            'type = "amqp"\nconfig = "the listener.toml"',
            f"    fedora-messaging --conf '{{directory}}/the listener.toml' reconsume"
            f" --callback=MODULE:NAME {IDS[0]}\n",
        ),
        (
            'type = "mqtt"\nurl = "mqtt://localhost"\nclient_id = "b"\ntopics = ["#"]',
            f"    {IDS[0]}: in no archive, so it cannot be consumed again\n",
        ),
    ],
)
def test_each_bus_has_its_own_command_to_consume_a_message_again(
    past: Past, tmp_path: Path, bus: str, line: str
) -> None:
    past.watch(-100, 100)
    past.receive(IDS[0], after=1)
    past.receive("no-uuid", after=1)
    past.close(40)
    (tmp_path / "the listener.toml").write_text(
        'amqp_url = "amqp://localhost"\n[[bindings]]\nexchange = "amq.topic"\nrouting_keys = ["#"]'
    )
    config = tmp_path / "busmon.toml"
    config.write_text(f'[ledger]\npath = "ledger.sqlite"\n[buses.fedora]\nrules = "all"\n{bus}\n')
    table = busmon("gaps", "-c", config, status=1).stdout
    assert line.format(directory=tmp_path) in table
    why = "in no archive, so it" if "mqtt" in bus else "not a UUID, so `fedora-messaging reconsume`"
    assert f"    no-uuid: {why}" in table
    ids = busmon("gaps", "-c", config, "--format", "ids", status=1).stdout.split()
    assert ids == ([] if f"{IDS[0]}: in no archive" in line else [IDS[0]])


@pytest.mark.parametrize(
    ("callback", "options"),
    [
        ("", " --callback=MODULE:NAME"),
        ('callback = "the.listeners:own"', ""),
        ('[consumer_config.busmon]\nbus = "fedora"', " --callback=busmon_tap:Tap"),
        (
            'callback = "the.listeners:own"\n[consumer_config.busmon]\nbus = "fedora"',
            " --callback=busmon_tap:Tap",
        ),
    ],
)
def test_the_command_names_the_tap_or_a_callback_that_is_not_in_the_file(
    past: Past, tmp_path: Path, callback: str, options: str
) -> None:
    past.watch(-100, 100)
    past.receive(IDS[0], after=1)
    past.close(40)
    listener = tmp_path / "listener.toml"
    listener.write_text(callback)
    config = tmp_path / "busmon.toml"
    config.write_text(
        '[ledger]\npath = "ledger.sqlite"\n[buses.fedora]\nrules = "all"\ntype = "amqp"\n'
        'config = "listener.toml"\n'
    )
    table = busmon("gaps", "-c", config, status=1).stdout
    command = f"    fedora-messaging --conf {listener} reconsume{options} {IDS[0]}\n"
    assert command in table
    assert (NAME_THE_CALLBACK in table) == ("MODULE" in options)


def test_a_bus_that_is_no_longer_configured_has_no_command(past: Past, tmp_path: Path) -> None:
    past.watch(-100, 100)
    past.receive(IDS[0], after=1)
    past.close(40)
    config = tmp_path / "busmon.toml"
    bus = '[buses.other]\nrules = "all"\ntype = "replay"\nfiles = ["busmon.toml"]\n'
    config.write_text(f'[ledger]\npath = "ledger.sqlite"\n{bus}')
    table = busmon("gaps", "-c", config, "--bus", BUS, status=1).stdout
    assert f"    {IDS[0]}: in no archive, so it cannot be consumed again\n" in table
    assert busmon("gaps", "-c", config, "--bus", "other").stdout.startswith("No message")
    assert busmon("incidents", "-c", config, "--bus", "other").stdout.startswith("No incident")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--bus", "fedoar"], "busmon: no such bus: fedoar; known buses: fedora\n"),
        (["--topic", "no"], "busmon: no message of this topic was counted: no\n"),
        (["--topic", "\x1b[31m"], "busmon: no message of this topic was counted: \\x1b[31m\n"),
    ],
)
def test_a_bus_or_topic_that_the_ledger_does_not_know_is_an_error(
    past: Past, words: list[str], error: str
) -> None:
    past.receive(IDS[0], after=1)
    assert busmon("gaps", "--ledger", past.path, *words, status=2).stderr == error


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--ledger", "missing.sqlite"], "busmon: missing.sqlite: no such ledger\n"),
        (["-c", "missing.toml"], "busmon: missing.toml: No such file or directory\n"),
        (["--since", "yesterday"], f"{TIME}\n"),
        (["--since", f"{'9' * 5000}s"], f"{TIME}\n"),
        (["--since", "9999-12-31 23:59:59.999999"], f"{TIME}\n"),
        (["--since", "9999-12-31"], "is in the future\n"),
    ],
)
def test_what_cannot_be_read_ends_with_2(words: list[str], error: str) -> None:
    assert error in busmon("gaps", *words, status=2).stderr
