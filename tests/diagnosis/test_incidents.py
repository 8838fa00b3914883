"""The memory of the verdicts: when an incident begins, goes on over a restart, and ends."""

import logging
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from busmon.diagnosis.incidents import MAX_BYTES, IncidentLog
from busmon.diagnosis.verdict import FaultKind, Verdict
from busmon.ledger.incidents import Incident
from busmon.ledger.ledger import Ledger
from tests.support.ledgers import NOW, unwritable

NONE, BUS, CONNECTION, LISTENER, BUSMON = (
    FaultKind.NONE,
    FaultKind.BUS,
    FaultKind.CONNECTION,
    FaultKind.LISTENER,
    FaultKind.BUSMON,
)
Phases = Sequence[tuple[int, FaultKind | None]]  # until when, in seconds; None: it does not run
Rows = list[tuple[str, int | None, int | None, int | None, int]]  # kind, began, seen, ended, away


def stored_rows(ledger: Ledger) -> list[Incident]:
    with ledger.read() as tables:
        return tables.incidents.listed(since=0)


def stored(path: str) -> list[Incident]:
    with closing(Ledger(path)) as ledger:
        return stored_rows(ledger)


def live(path: str, phases: Phases) -> None:
    """Note these verdicts on one bus every other second; busmon is killed when it is away."""
    now, ledger = 0, Ledger(path)
    log = IncidentLog(ledger, NOW)
    for until, kind in phases:
        if kind is None:
            ledger.close()
            now, ledger = until, Ledger(path)
            log = IncidentLog(ledger, NOW + now)
            continue
        for now in range(now, until, 2):  # noqa: B020 - it goes on from there
            log.note({"fedora": Verdict(kind, (f"{kind} at {now}",))}, NOW + now)
            log.write()
        now = until
    ledger.close()


def rows(path: str) -> Rows:
    def short(time: float | None) -> int | None:
        return None if time is None else round(time - NOW)

    return [
        (one.kind, short(one.began), short(one.seen), short(one.ended), round(one.away))
        for one in stored(path)
    ]


CASES: dict[str, tuple[Phases, Rows]] = {
    "all is well": ([(100, NONE)], []),
    "it is not connected for a moment after the start": ([(4, CONNECTION), (200, NONE)], []),
    "another fault right after the start": ([(4, BUS), (200, NONE)], [(BUS, 0, 2, 4, 0)]),
    "it is not connected for longer": (
        [(12, CONNECTION), (100, NONE)],
        [(CONNECTION, 0, 10, 12, 0)],
    ),
    "a fault begins and ends": (
        [(20, NONE), (50, LISTENER), (120, NONE)],
        [(LISTENER, 20, 48, 50, 0)],
    ),
    "a fault goes on: it is written once a minute": (
        [(20, NONE), (150, LISTENER)],
        [(LISTENER, 20, 144, None, 0)],
    ),
    "busmon is killed soon after the begin: most of it is on record": (
        [(20, NONE), (50, LISTENER)],
        [(LISTENER, 20, 36, None, 0)],
    ),
    "it is over for less than a minute again and again": (
        [
            *((20, NONE), (30, LISTENER), (80, NONE), (90, LISTENER), (140, NONE)),
            *((150, LISTENER), (300, NONE)),
        ],
        [(LISTENER, 20, 148, 150, 0)],
    ),
    "the kind changes": (
        [(20, NONE), (40, CONNECTION), (60, LISTENER), (200, NONE)],
        [(CONNECTION, 20, 38, 40, 0), (LISTENER, 40, 58, 60, 0)],
    ),
    "the kind changes to and fro": (
        [(20, NONE), (40, CONNECTION), (60, LISTENER), (80, CONNECTION), (200, NONE)],
        [(CONNECTION, 20, 78, 80, 0), (LISTENER, 40, 58, 60, 0)],
    ),
    # It was last written at 84; then busmon was killed.
    "it is still wrong after a restart": (
        [(20, NONE), (100, LISTENER), (400, None), (430, NONE), (450, LISTENER), (600, NONE)],
        [(LISTENER, 20, 448, 450, 316)],
    ),
    "all is well after a restart: it was over at the latest a minute later": (
        [(20, NONE), (100, LISTENER), (400, None), (800, NONE)],
        [(LISTENER, 20, 84, 460, 0)],
    ),
    "another kind is wrong after a restart": (
        [(20, NONE), (100, LISTENER), (400, None), (800, BUS)],
        [(LISTENER, 20, 84, 460, 0), (BUS, 400, 764, None, 0)],
    ),
    "it comes again long after a restart": (
        [(20, NONE), (100, LISTENER), (400, None), (720, NONE), (740, LISTENER), (900, NONE)],
        [(LISTENER, 20, 84, 460, 0), (LISTENER, 720, 738, 740, 0)],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_incident_is_one_time_of_one_kind_of_fault(case: str, tmp_path: Path) -> None:
    phases, expected = CASES[case]
    path = str(tmp_path / "ledger.sqlite")
    live(path, phases)
    assert rows(path) == expected


def test_the_log_has_the_begin_and_the_end_of_an_incident(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "busmon.diagnosis")
    flickers, _ = CASES["it is over for less than a minute again and again"]
    live(str(tmp_path / "ledger.sqlite"), flickers)
    assert caplog.messages == [
        "fedora: verdict: listener: listener at 20",
        "fedora: no longer the verdict: listener, after 2 min",
    ]


def test_first_and_last_evidence_are_kept_and_bounded(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    with closing(Ledger(path)) as ledger:
        log = IncidentLog(ledger, NOW)
        for now, evidence in ((20, ("a\nb\ud800",)), (90, ("x" * 2 * MAX_BYTES, "y"))):
            log.note({"fedora": Verdict(LISTENER, evidence)}, NOW + now)
        log.write()
    [incident] = stored(path)
    assert incident.first_evidence == ("a b\\ud800",)
    assert incident.last_evidence == ("x" * MAX_BYTES, "…")


def test_a_ledger_that_cannot_be_written_loses_no_incident(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    with closing(Ledger(path)) as ledger:
        log = IncidentLog(ledger, NOW)
        with unwritable(path):
            for now, kind in ((20, LISTENER), (30, BUSMON), (100, NONE), (200, NONE)):
                log.note({"fedora": Verdict(kind, ("why",))}, NOW + now)
            log.write()
            latest = log.latest()
            assert [one.kind for one in latest] == [LISTENER, BUSMON]
        assert stored_rows(ledger) == []
        log.write()
        assert stored_rows(ledger) == list(latest)


def test_a_clock_that_is_set_back_holds_up_no_end(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    with closing(Ledger(path)) as ledger:
        log = IncidentLog(ledger, NOW)
        log.note({"fedora": Verdict(LISTENER, ())}, NOW + 20)
        log.note({"fedora": Verdict(NONE, ())}, NOW - 3600)
        log.note({"fedora": Verdict(NONE, ())}, NOW - 3540)
        log.note({"fedora": Verdict(BUS, ())}, NOW - 3500)
    listener, bus = log.latest()[::-1]
    assert (listener.began, listener.seen, listener.ended) == (NOW + 20,) * 3
    assert (bus.began, bus.ended) == (NOW - 3500, None)
