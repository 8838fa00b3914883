"""A ledger of an older version is migrated when it is opened, and nothing in it is lost."""

import json
from collections import Counter
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from busmon import __version__
from busmon.ledger.engines import open_read_only
from busmon.ledger.errors import LedgerError
from busmon.ledger.ledger import Ledger
from busmon.ledger.messages import MessageRecord
from busmon.ledger.open_messages import State
from busmon.ledger.shares import KINDS
from busmon.ledger.sqlite.migrations import STEPS, VERSION, migrate
from busmon.ledger.tables import Tables
from tests.ledger.sql import foreign
from tests.ledger.version_1 import EXPECTED, contents, schema, version, write_sample
from tests.support.ledgers import judged


@pytest.fixture
def path(tmp_path: Path) -> str:
    return write_sample(tmp_path)


def test_everything_is_as_it_was_before_the_migration(path: str) -> None:
    with closing(Ledger(path)) as ledger:
        counts = [
            [*series, *asdict(count).values()] for series, count in sorted(ledger.counts().items())
        ]
        assert counts == EXPECTED["counts"]
        assert ledger.duplicates() == Counter(EXPECTED["duplicates"])
        assert ledger.size()[0] == EXPECTED["rows"]
        assert {bus: ledger.own_queue(bus) for bus in EXPECTED["queues"]} == EXPECTED["queues"]
        with ledger.write() as tables:
            assert tables.windows.closed_until() == EXPECTED["last_closed"]
            sums = [[*place, *of[:-1]] for place, of in sorted(tables.windows.totals().items())]
            assert sums == [without_numbers(row) for row in EXPECTED["sums"]]
            for bus, known in EXPECTED["blind"].items():
                found = tables.blind_times.load(bus, now=0, oldest=0)
                assert json.loads(json.dumps(found)) == known


def without_numbers(row: list[Any]) -> list[Any]:
    """Return what is left of a row of the totals; only the bus brew was compared by numbers."""
    return [*row[:3], 0, 0, *row[5:]] if row[:3] == ["brew", "", "listener"] else row


def test_each_message_is_known_as_it_was_before_the_migration(path: str) -> None:
    Ledger(path).close()
    missing = {
        (gap["start"], gap["until"], gap["bus"], gap["stage"], gap["topic"], message["id"])
        for gap in EXPECTED["gaps"]["gaps"]
        for message in gap["messages"]
    }
    with open_read_only(path) as tables:
        listed = tables.gaps.listed()
        assert {(*one[:5], one.id) for one in listed} == missing
        for identity, known in EXPECTED["traces"].items():
            records = tables.messages.find(identity)
            found = [[*record[:-1], *facts_of(tables, record, identity)] for record in records]
            assert found == [list(facts.values()) for facts in known]


def facts_of(tables: Tables, record: MessageRecord, identity: str) -> list[Any]:
    """Return whether the tap watched, and where the message was missing."""
    at = record.received_at or 0
    missing = [
        {"stage": at.stage, "window": at.start, "recovered_at": at.ended_at}
        for at in tables.gaps.history(record.bus, identity)
        if at.state is not State.RUNNING
    ]
    return [tables.coverage.is_covered(f"tap:{record.bus}", at, at), missing]


NEW = (
    "acceptances",
    "archive_differences",
    "archive_fills",
    "archive_sums",
    "archive_topics",
    "incidents",
    "found_queues",
    "clock",
    "deficits",
    "awaited_topics",
    "gone_topics",
    "slo_totals",
    "slo_progress",
    "subjects",
    "subject_keys",
    "tap_processes",
    "tap_totals",
)  # and empty
RENAMED = {
    "seen": "messages",
    "hours": "hourly_sums",
    "blind": "blind_times",
    "observed": "coverage",
    "reports": "tap_reports",
    "listener": "listener_counts",
    "audited": "audit_totals",
    "closed": "audit_progress",
}


def test_each_row_is_kept(path: str) -> None:
    before = contents(path)
    assert all(before.values())  # so each table is tried
    Ledger(path).close()
    after = contents(path)
    forget_numbers(before, "polls", "audited")
    assert after.pop("versions") == [(VERSION, __version__)]
    after["audit_progress"] = [row[1:] for row in after["audit_progress"]]
    after["buses"] = [row[:-3] for row in after["buses"]]
    assert all(row[-3:] == (row[0], None, row[3]) for row in after["tasks"])  # roots
    take_open_messages(before, "missing", "running", after)
    after["tasks"] = [row[:-3] for row in after["tasks"]]
    assert [after.pop(table) for table in NEW] == [[]] * len(NEW)
    assert after.pop("series_parts") == sorted({(0, row[3]) for row in after["messages"]})
    after["tap_reports"] = [row[:-1] for row in after["tap_reports"]]
    after["messages"] = [row[:-1] for row in after["messages"]]
    after["series"] = [row[:-1] for row in after["series"]]
    assert set(KINDS) == {kind for kind, _ in after.pop("shares")}
    assert after == {RENAMED.get(name, name): rows for name, rows in before.items()}


def take_open_messages(
    rows: dict[str, list[tuple[Any, ...]]],
    missing: str,
    running: str,
    after: dict[str, list[tuple[Any, ...]]],
) -> None:
    """Check that messages that were open are so in the new table; remove them and new columns."""
    expected = {
        (*row[:5], "missing" if row[5] is None else "recovered", None, row[5])
        for row in rows.pop(missing)
    }
    expected |= {
        (*row[:2], "worker", *row[2:4], "running", row[4], None) for row in rows.pop(running)
    }
    kept = after.pop("open_messages")
    assert {(*row[:5], *row[7:9], row[10]) for row in kept} == expected
    length = {row[5] - row[4] for row in kept}
    assert max(length) > 0
    assert all(row[4] <= row[6] < row[5] for row in kept if row[6] and row[5] > row[4])
    assert {row[9] for row in kept} == {0}
    for table in ("audit_totals", "tap_reports"):
        assert {row[-1] for row in after[table]} <= {0, None}
        after[table] = [row[:-1] for row in after[table]]


def forget_numbers(rows: dict[str, list[tuple[Any, ...]]], polls: str, totals: str) -> None:
    """Remove from a ledger's rows what was compared by numbers."""
    del rows[polls]
    brew = next(bus for bus, name, *_ in rows["buses"] if name == "brew")
    by_numbers = [row for row in rows["windows"] if not row[-1]]
    assert by_numbers
    assert {row[2] for row in by_numbers} == {brew}
    rows["windows"] = [row[:-1] for row in rows["windows"] if row[-1] or row[5] is None]
    rows[totals] = [
        (*row[:3], 0, 0, *row[5:]) if row[:3] == (brew, "", "listener") else row
        for row in rows[totals]
    ]


def test_when_a_tap_reported_last_is_known_from_its_coverage(path: str) -> None:
    covered = {observer: until for observer, _, until in sorted(contents(path)["observed"])}
    assert "tap:fedora" in covered
    with closing(Ledger(path)) as ledger, ledger.read() as tables:
        assert tables.buses.tap_reported("fedora") == covered["tap:fedora"] / 1000
        assert tables.buses.tap_reported("centos") is None


def test_a_migrated_ledger_has_the_tables_of_a_new_one(path: str, tmp_path: Path) -> None:
    Ledger(path).close()
    new = tmp_path / "new.sqlite"
    Ledger(str(new)).close()
    assert schema(path) == schema(new)
    assert version(path) == version(new) == VERSION


def test_a_ledger_of_version_2_is_migrated_from_there(path: str, tmp_path: Path) -> None:
    with foreign(path) as db:
        migrate(db, path, 1, STEPS[:1])
    before = contents(path)
    forget_numbers(before, "listener_polls", "audit_totals")
    assert version(path) == 2
    with closing(Ledger(path)) as ledger:
        assert ledger.size()[0] == EXPECTED["rows"]
        with ledger.read() as tables:
            sizes = tables.shares.bytes()
    assert set(sizes) == set(KINDS)
    empty = {kind for kind, size in sizes.items() if not size}
    assert empty == {"archive_sums", "incidents", "unconfirmed_messages"}
    after = contents(path)
    take_open_messages(before, "missing_messages", "running_messages", after)
    del after["shares"]
    assert [after.pop(table) for table in NEW] == [[]] * len(NEW)
    assert after.pop("series_parts") == sorted({(0, row[3]) for row in after["messages"]})
    after["tap_reports"] = [row[:-1] for row in after["tap_reports"]]
    after["messages"] = [row[:-1] for row in after["messages"]]
    after["series"] = [row[:-1] for row in after["series"]]
    after["buses"] = [row[:-2] for row in after["buses"]]
    after["tasks"] = [row[:-3] for row in after["tasks"]]
    assert after.pop("versions") == [*before.pop("versions"), (VERSION, __version__)]
    assert after == before
    assert version(tmp_path / "ledger.sqlite.version-2") == 2


def test_counting_pruning_and_duplicates_continue(path: str) -> None:
    last = max(found[5] for found in EXPECTED["counts"])
    with closing(Ledger(path)) as ledger:
        ids = ["new", *EXPECTED["traces"]][:4]
        recorded = ledger.record(judged(*ids, at=last, bus="fedora"))
        assert len(recorded.new) < 4
        assert ledger.size()[0] == EXPECTED["rows"] + len(recorded.new)
        while ledger.prune(last + 1000, 0):
            pass
        assert ledger.size()[0] == 0
    with foreign(path) as db:
        assert db.execute("SELECT count(*) FROM messages").fetchone() == (0,)


def test_the_copy_beside_it_is_the_ledger_as_it_was(path: str, tmp_path: Path) -> None:
    before = contents(path)
    Ledger(path).close()
    copy = tmp_path / "ledger.sqlite.version-1"
    assert copy.stat().st_mode & 0o777 == 0o600
    assert version(copy) == 1
    assert contents(copy) == before
    assert not list(tmp_path.glob("*unfinished*"))


def test_what_is_still_in_the_write_ahead_log_is_in_the_copy(path: str, tmp_path: Path) -> None:
    with foreign(path) as db:
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute("UPDATE buses SET duplicates = 12345")
        with foreign(path):  # so that closing the first one does not empty the log
            db.close()
            Ledger(path).close()
    rows = contents(tmp_path / "ledger.sqlite.version-1")["buses"]
    assert {row[3] for row in rows} == {12345}
    with closing(Ledger(path)) as ledger:
        assert set(ledger.duplicates().values()) == {12345}


def test_the_second_opening_changes_nothing(path: str, tmp_path: Path) -> None:
    Ledger(path).close()
    copy = tmp_path / "ledger.sqlite.version-1"
    copy.unlink()
    before = contents(path)
    Ledger(path).close()
    assert contents(path) == before
    assert not copy.exists()


def test_a_restored_copy_is_migrated_like_the_first_one(path: str, tmp_path: Path) -> None:
    with closing(Ledger(path)) as ledger:
        ledger.record(judged("lost by restoring"))
    (tmp_path / "ledger.sqlite.version-1").rename(path)
    with closing(Ledger(path)) as ledger:
        assert ledger.size()[0] == EXPECTED["rows"]


def test_a_command_that_only_reads_asks_for_the_migration(path: str) -> None:
    with pytest.raises(LedgerError) as refused, open_read_only(path):
        pass
    assert str(refused.value) == (
        f"{path}: written by an older busmon (ledger version 1, this one reads version {VERSION});"
        " start `busmon run` with it once, which migrates it"
    )
    assert version(path) == 1


def refusal(path: str) -> str:
    with pytest.raises(LedgerError) as refused:
        Ledger(path)
    return str(refused.value)


@pytest.fixture
def newer(path: str) -> str:
    """A ledger that a busmon of the future has migrated."""
    Ledger(path).close()
    with foreign(path) as db:
        db.executescript(
            f"PRAGMA user_version = {VERSION + 1};"
            f" INSERT INTO versions VALUES ({VERSION + 1}, '9.8'); DROP TABLE buses"
        )
    return path


def newer_text(path: str, copy: str) -> str:
    return (
        f"{path}: written by busmon 9.8 (ledger version {VERSION + 1}; busmon {__version__} knows"
        f" version {VERSION}). Start that busmon again, or restore {copy}: then all that was"
        " counted since is lost"
    )


def test_a_newer_ledger_is_refused_and_says_what_to_do(newer: str) -> None:
    before = Path(newer).read_bytes()
    assert refusal(newer) == newer_text(newer, f"{newer}.version-1")
    Path(f"{newer}.version-1").rename(f"{newer}.version-2")
    assert refusal(newer) == newer_text(newer, f"{newer}.version-2")
    Path(f"{newer}.version-2").unlink()
    assert refusal(newer) == newer_text(newer, "a backup")
    with pytest.raises(LedgerError, match=r"written by busmon 9\.8"), open_read_only(newer):
        pass
    assert Path(newer).read_bytes() == before
