"""Whether this busmon leads those that have its ledger, or follows the one that does."""

import threading
import time
from collections.abc import Callable, Iterator

from prometheus_client.core import Metric

from busmon.ledger.engine import Members
from busmon.ledger.errors import LedgerError, LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.metrics.families import gauge
from busmon.threads import Threads

LOOK_INTERVAL = 1.0  # seconds
SIGN_INTERVAL = 3.0  # seconds between two signs of life of the leader; see `lead.IDLE_SECONDS`
ALONE = Members(1, led=True, leads=True, url="")  # with a ledger in a file


class Replica:
    """What this busmon is among others: a thread, and a collector of metrics.

    `ends` says, once a second, whether it no longer is that; then `ended` is set. One that leads
    writes for the others at which `url` it answers.
    """

    def __init__(self, ledger: Ledger, ends: Callable[[Members], bool]) -> None:
        """Look for the first time; raises LedgerError."""
        self.ended = threading.Event()
        self.members = ledger.members() or ALONE
        self.problem: str | None = None
        self._ledger = ledger
        self._ends = ends
        self._sign_due = 0.0  # monotonic
        self.url = ""

    def run(self, stopping: threading.Event) -> None:
        """Look who has the ledger until `stopping`."""
        while not (self.ended.is_set() or stopping.wait(LOOK_INTERVAL)):
            try:
                self.members = self._ledger.members() or self.members
                if self._ends(self.members):
                    self.ended.set()
                elif self.members.leads and time.monotonic() > self._sign_due:
                    self._ledger.announce(self.url)
                    self._sign_due = time.monotonic() + SIGN_INTERVAL
            except (LedgerError, LedgerWriteError) as error:
                self.problem = f"ledger: {error}"
            else:
                self.problem = None
        stopping.wait()

    def collect(self) -> Iterator[Metric]:
        """Yield how many have the ledger, and whether this one leads."""
        members = self.members
        yield gauge(
            "busmon_replicas",
            "How many busmons have this ledger.",
            [],
            [((), members.replicas)],
        )
        yield gauge(
            "busmon_replica_leader",
            "1 if this busmon leads those that have its ledger, 0 if it follows.",
            [],
            [((), members.led and members.leads)],
        )


def leading(ledger: Ledger, threads: Threads) -> Replica | None:
    """Return what this busmon is, which leads, with its thread; None if nobody else can."""
    if not ledger.shared:
        return None
    replica = Replica(ledger, lambda now: not now.leads)
    threads.add("replica", replica.run)
    return replica
