"""`busmon incidents`: what it prints of a ledger."""

import json
import sqlite3
from pathlib import Path
from typing import Any

from busmon.commands.incidents import IncidentsQuery, find_incidents
from busmon.ledger.acceptances import Selection
from busmon.ledger.incidents import Incident
from busmon.ledger.ledger import Ledger
from busmon.ledger.values import Interval
from busmon.text import format_span, format_time
from tests.support.command import busmon
from tests.support.past import BUS, IDS, Past

EVIL = "a topic.\x1b[2K is silent"


def incidents(path: str, *words: str, status: int = 0) -> str:
    return busmon("incidents", "--ledger", path, *words, status=status).stdout


def an_outage(past: Past) -> None:
    """Let the listener be down from 10 s on, busmon for 20 s of it, and two messages be lost."""
    past.watch(-100, 100)
    for one in IDS[:3]:
        past.receive(one, after=1)
    past.report(IDS[2])
    past.close(40)
    at = past.start
    listener = Incident(
        BUS,
        "listener",
        at + 10,
        at + 70,
        at + 72,
        20.0,
        ("its queue is gone",),
        ("it is down", "still"),
    )
    ended = Incident(BUS, "publisher", at - 86400 * 30, at - 86400 * 29, at - 86400 * 29)
    with past.ledger.write() as tables:
        tables.incidents.save([listener, ended])
        tables.blind_times.save(BUS, at + 60, 20.0, [Interval(at + 30, at + 50)])


def test_an_incident_is_listed_with_its_evidence_and_what_was_lost(past: Past) -> None:
    an_outage(past)
    window = format_span(past.start, past.start + past.window)
    start = past.start
    consequences = (
        f"messages of the windows from {window}: listener: 2 missing",
        "busmon did not run for up to 20 s of this time",
        f"busmon did not receive from this bus from {format_span(start + 30, start + 50)}",
    )
    lost = f"fedora: 2 messages still lost, the oldest of the window from {format_time(start)}"
    times = f"{format_span(start + 10, start + 72)}, for 62 s"
    table = incidents(past.path).splitlines()
    assert table[:-2] == [
        f"fedora: listener, {times}",
        *(
            f"    {line}"
            for line in ("at first: its queue is gone", "it is down", "still", *consequences)
        ),
    ]
    assert table[-2].startswith("1 incident since 20")
    assert table[-1] == f"{lost} (busmon gaps)"
    report = incidents(past.path, "--format", "markdown")
    section = report.partition("## 1. fedora: ")[2].splitlines()
    assert section == [
        "the bus delivered, but the listener did not pass messages on",
        "",
        *(f"- {line}" for line in (times, *consequences)),
        *("", f"Evidence at {format_time(start + 10)}:", "", "    its queue is gone"),
        *("", f"Evidence at {format_time(start + 70)}:", "", "    it is down", "    still"),
    ]
    began = format_time(start + 10).removesuffix(" UTC")
    assert f"\n| 1 | {began} | 62 s | fedora | listener | listener: 2 missing |\n" in report
    for since in ("60d", "2001-01-01 00:00:00"):
        assert "2 incidents since 20" in incidents(past.path, "--since", since)
    assert "No incident since " in incidents(past.path, "--since", format_time(start + 73))


def test_what_the_listener_lost_is_not_in_an_incident_of_the_workers(past: Past) -> None:
    an_outage(past)
    with past.ledger.write() as tables:
        tables.incidents.save([Incident(BUS, "workers", past.start + 10, past.start + 70)])
    losses = {
        one["kind"]: [loss["stage"] for loss in one["losses"]]
        for one in json.loads(incidents(past.path, "--format", "json"))["incidents"]
    }
    assert losses == {"listener": ["listener"], "workers": []}


def test_everything_is_in_the_json(past: Past) -> None:
    an_outage(past)
    answer: Any = json.loads(incidents(past.path, "--format", "json"))
    [incident] = answer["incidents"]
    assert incident["began"] == past.start + 10
    assert incident["last_evidence"] == ["it is down", "still"]
    assert incident["losses"] == [
        {
            "stage": "listener",
            "state": "missing",
            "messages": 2,
            "start": past.start,
            "until": past.start + past.window,
        }
    ]
    assert incident["blind"] == [{"since": past.start + 30, "until": past.start + 50}]
    assert answer["still_lost"] == [{"bus": BUS, "messages": 2, "oldest": past.start}]


def test_what_was_accepted_meanwhile_is_listed(past: Past) -> None:
    an_outage(past)
    chosen = Selection(past.start, past.start + 4)
    one = Selection(past.start, past.start + 1, bus=BUS)
    at = past.start + 90
    with past.ledger.write() as tables:
        number = tables.acceptances.add(chosen, 1, "alice", "purged", at)
        tables.acceptances.accept(number, tables.acceptances.matching(chosen, None, 9), at)
        tables.acceptances.revert(number, "bob", at + 9)
        tables.acceptances.add(chosen._replace(bus="centos"), 1, "bob", "", at)
        tables.acceptances.add(chosen, 1, "bob", "", at - 8 * 86400)
        tables.acceptances.add(one, 1, "eve", "<b>no", at)
    window = format_span(past.start, past.start + 4)
    line = (
        f"{format_time(at)}: alice accepted 2 messages of the windows from {window}: purged; bob"
        f" reopened them, {format_time(at + 9)}"
    )
    table = incidents(past.path, "--bus", BUS).splitlines()
    assert table[-2] == line
    window_alone = f"the window from {format_time(past.start)}, bus {BUS}"
    assert table[-1] == f"{format_time(at)}: eve accepted 0 messages of {window_alone}: <b>no"
    assert f"    messages of the windows from {window}: listener: 2 accepted" in table
    report = incidents(past.path, "--format", "markdown")
    assert f"\n- {line}\n" in report
    assert r": \<b\>no" in report
    accepted = json.loads(incidents(past.path, "--format", "json"))["accepted"]
    assert [one["who"] for one in accepted] == ["alice", "bob", "eve"]


def test_without_incidents_it_says_so(past: Past) -> None:
    past.receive(IDS[0], after=1)
    assert incidents(past.path).startswith("No incident since 20")
    assert json.loads(incidents(past.path, "--format", "json"))["incidents"] == []
    errors = busmon("incidents", "--ledger", past.path, "--bus", "fedroa", status=2).stderr
    assert errors == "busmon: no such bus: fedroa; known buses: fedora\n"


def test_control_characters_in_the_evidence_are_escaped(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    ledger = Ledger(path)
    with ledger.write() as tables:
        tables.incidents.save([Incident(BUS, "publisher", 1.0, 2e9, None, 0.0, (EVIL,), (EVIL,))])
    ledger.close()
    for form in ("table", "markdown"):
        assert "    a topic.\\x1b[2K is silent\n" in f"{incidents(path, '--format', form)}\n"


def test_incidents_have_their_own_blind_times_and_are_read_at_once(past: Past) -> None:
    """However many there are: in a year there can be hundreds."""
    queries: list[str] = []
    with past.ledger.write() as tables:
        blind = [Interval(past.start + at, past.start + at + 5) for at in range(0, 3000, 10)]
        tables.blind_times.save(BUS, past.start + 3000, 0.0, blind)
        spans = [(past.start + at, length) for at in range(0, 2400, 7) for length in (0, 1, 12)]
        tables.incidents.save(
            Incident(BUS, f"of {length} s", began, began + length) for began, length in spans
        )
    with past.ledger.read() as tables:
        db = tables.incidents._db  # noqa: SLF001 - to count the queries
        assert isinstance(db, sqlite3.Connection)
        db.set_trace_callback(queries.append)
        found = find_incidents(
            tables, IncidentsQuery(past.start - 1, past.start + 3000), None
        ).found
        db.set_trace_callback(None)
        own = [tables.blind_times.between(BUS, *one.incident[2:4]) for one in found]
    assert [one.blind for one in found] == own
    assert len(found) == len(spans)
    assert len(queries) < 10
