"""Two listeners on one queue, and their taps, which report to several busmons with one ledger."""

import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from busmon.ledger.coverage import MAX_GAP_SECONDS
from busmon.ledger.engines import LedgerPlace, open_read_only
from tests.support.brokers import wait_until
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.redis import Redis
from tests.support.buses import Bus
from tests.support.busmon_process import Busmon
from tests.support.ledger_server import LedgerServer
from tests.support.ledgers import database_at
from tests.support.replicas import leader_of, replicas
from tests.support.report_tee import report_tee
from tests.support.streams import standing_still
from tests.support.tap_reports import LATE, TOKEN
from tests.support.tapped_listener import TappedListener

REPORTS = f'[audit.reports]\nbus = "fedora"\ntoken = "{TOKEN}"'
DONE = ("pass", "drop", "drop")


@pytest.fixture
def listeners(
    tmp_path: Path, rabbitmq: RabbitMQ, redis: Redis
) -> Iterator[tuple[TappedListener, TappedListener]]:
    with ExitStack() as stack:
        first = TappedListener(tmp_path / "first", rabbitmq, redis)
        second = TappedListener(tmp_path / "second", rabbitmq, redis, key=first.key)
        for listener in (first, second):
            stack.callback(listener.close)
        yield first, second


class Reported:
    """What was published, and what the ledger has of it."""

    def __init__(self, place: LedgerPlace, listener: TappedListener) -> None:
        self.place, self.listener = place, listener
        self.states: dict[str, str] = {}

    def publish(self, number: int) -> None:
        """Publish so many messages of each kind, slowly enough for several batches."""
        for _ in range(number):
            published = zip(self.listener.publish(*DONE), DONE, strict=True)
            self.states |= {one: "passed" if do == "pass" else "dropped" for one, do in published}
            time.sleep(0.1)

    def wait(self) -> None:
        """Wait until every message is reported, and compare."""

        def reports() -> dict[str, str]:
            with open_read_only(self.place) as tables:
                return {one.id: one.state for one in tables.tap_reports.of("fedora")}

        wait_until(lambda: len(reports()) >= len(self.states), 90, "every report")
        assert reports() == self.states

    def totals(self) -> dict[str, int]:
        with open_read_only(self.place) as tables:
            return tables.taps.totals("fedora")

    def expected(self) -> dict[str, int]:
        kinds = len(self.states) // len(DONE)
        return {"passed": kinds, "dropped": 2 * kinds, "lost": 0, "malformed": 0}

    def covered(self) -> list[tuple[float, float]]:
        with open_read_only(self.place) as tables:
            return [(one.since, one.until) for one in tables.coverage.intervals("tap:fedora")]


def reported_totals(busmon: Busmon) -> dict[str, int]:
    """Return what its metrics say of the reports."""
    found = {}
    for name in ("reports", "lost_reports", "malformed_reports"):
        _, lines = busmon.ask(f"/metrics?name[]=busmon_tap_{name}_total")
        for line in lines:
            if not line.startswith("#"):
                state = line.partition('state="')[2].partition('"')[0] or name.partition("_")[0]
                found[state] = int(float(line.rpartition(" ")[2]))
    return {state: number for state, number in found.items() if number or state != "raised"}


def test_whichever_busmon_they_report_to_each_report_counts_once(
    fedora: Bus,
    ledger_server: LedgerServer,
    listeners: tuple[TappedListener, TappedListener],
    tmp_path: Path,
) -> None:
    url = ledger_server.url_of(ledger_server.emptied())
    first, second = listeners
    reported = Reported(database_at(url), first)
    lost = itertools.cycle([True, False, True])  # of three answers the second
    with (
        replicas(3, tmp_path, {"fedora": fedora.settings}, url, REPORTS, LATE) as three,
        report_tee([three[1].url], partial(next, lost)) as tee,
    ):
        for busmon in three:
            busmon.wait_until_ready()
        began = time.time()
        start(first, tee)
        start(second, three[2].url)
        reported.publish(10)
        reported.wait()

        leader = leader_of(three)
        leader.kill()
        reported.publish(10)
        leader.start()
        reported.wait()

        leader = leader_of(three)
        with standing_still(leader):
            reported.publish(10)
            leader_of([busmon for busmon in three if busmon is not leader])
        reported.wait()
        assert len(first.called()) + len(second.called()) == len(reported.states)
        assert min(len(one.called()) for one in listeners) > 0

        assert [one.terminate() for one in listeners] == [0, 0]
        leader = leader_of(three)
        leader.kill()
        first.start()  # no listener was there meanwhile, so nothing is unconfirmed
        leader.start()
        published = time.time()
        reported.publish(3)
        reported.wait()
        assert first.terminate() == 0
        ended = time.time()
        totals = reported_totals(leader_of(three))
    assert totals == reported.totals() == reported.expected()
    [(since, until)] = reported.covered()
    assert since < began + MAX_GAP_SECONDS
    assert published < until < ended


def start(listener: TappedListener, url: str) -> None:
    listener.tap(f"{url}/v1/reports")
    listener.start()
