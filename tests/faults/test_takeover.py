"""However the leader is lost, the server takes the lead from it in time, and another one leads."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from busmon.ledger.postgresql import engine, lead
from busmon.ledger.postgresql.connection import NETWORK
from busmon.replicas import LOOK_INTERVAL, SIGN_INTERVAL
from tests.faults.stopping import Bus
from tests.support.brokers import wait_until
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.brokers.proxy import Proxy
from tests.support.busmon_process import Busmon
from tests.support.ledger_server import LedgerServer
from tests.support.replicas import WARNING, says
from tests.support.streams import standing_still

PROMISED = 15  # seconds, in config/postgresql/README.md
HOLDER = f"""
SELECT pid, clock_timestamp() FROM (SELECT) AS one LEFT JOIN pg_locks
ON locktype = 'advisory' AND objid::bigint = {lead.LEADING & 0xFFFFFFFF} AND granted
"""


def test_the_limits_of_the_server_keep_the_promise() -> None:
    network = {name: value for name, value in NETWORK.items() if isinstance(value, int)}
    keepalive = network["keepalives_idle"] + (
        network["keepalives_interval"] * network["keepalives_count"]
    )
    unheard = max(keepalive, network["tcp_user_timeout"] / 1000)
    ended = max(lead.IDLE_SECONDS, engine.IDLE_SECONDS, unheard)
    assert ended + LOOK_INTERVAL + engine.READ_MEMBERS_SECONDS + lead.LEAD_SECONDS <= PROMISED
    assert SIGN_INTERVAL * 2 + LOOK_INTERVAL <= lead.IDLE_SECONDS  # one that is late is no loss


@contextmanager
def lost(how: str, leader: Busmon, proxy: Proxy) -> Iterator[None]:
    """Meanwhile the leader is lost, or for good."""
    match how:
        case "killed":
            leader.kill()
            yield
        case "paused":
            with standing_still(leader):
                yield
        case "cut off":  # its host goes on, and the server hears nothing of it
            proxy.swallow()
            yield
            proxy.heal()


@pytest.mark.parametrize("how", ["killed", "paused", "cut off"])
def test_another_one_leads(
    how: str, mosquitto: Mosquitto, ledger_server: LedgerServer, tmp_path: Path
) -> None:
    bus, name = Bus(mosquitto), ledger_server.emptied()
    url = ledger_server.url_of(name)
    with closing(Proxy(ledger_server.port)) as proxy:
        urls = (ledger_server.url_of(name, proxy.port), url)
        first, second = (
            Busmon(_made(tmp_path / str(number)), {"centos": bus.settings}, url=each)
            for number, each in enumerate(urls)
        )
        with first, second, psycopg.connect(url, autocommit=True) as watcher:

            def holder() -> tuple[int | None, timedelta]:
                """Return the session that has the lead, and the server's time since it was lost."""
                session, now = watcher.execute(HOLDER).fetchall()[0]
                return session, now - began

            began = watcher.execute("SELECT clock_timestamp()").fetchall()[0][0]
            leading, _ = holder()
            assert leading
            with lost(how, first, proxy):
                began += holder()[1]
                after = wait_until(
                    lambda: [at for session, at in [holder()] if session != leading],
                    what="the server to end the leader's session",
                )
                assert after[0] < timedelta(seconds=PROMISED)
                wait_until(
                    lambda: second.ask("/ready") == (200, ["ready", WARNING]),
                    what="the second to lead",
                )
            if how != "killed":
                standby = f"standby: {second.url} leads"
                wait_until(lambda: says(first, standby), what=standby)


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory
