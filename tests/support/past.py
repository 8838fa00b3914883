"""A ledger that knows of some minutes before now, for commands that read it."""

import time
from pathlib import Path
from uuid import UUID

from busmon.audit.scope import Observed
from busmon.audit.windows import AuditWindows
from busmon.ledger.batch import Observation, Series
from busmon.ledger.engines import LedgerPlace
from busmon.ledger.ledger import Ledger
from busmon.ledger.tap_reports import TapReport
from busmon.settings.audit import Audit

BUS = "fedora"
TOPIC = "org.fedoraproject.prod.copr.build.end"
TOKEN = "s3cret-of-the-tap"
IDS = [str(UUID(int=n)) for n in range(400)]


class Past:
    """What busmon received, and what the tap reported. Times are seconds after `start`."""

    def __init__(
        self,
        directory: Path,
        window: int = 4,
        begun: float = 120,
        place: LedgerPlace | None = None,
        start: float | None = None,
    ) -> None:
        """It starts when the window began that was open `begun` seconds ago, or at `start`.

        `place` is that of the ledger; without it, it is a file in `directory`.
        """
        self.path = str(directory / "ledger.sqlite")
        self.window = window
        self.start = (time.time() - begun) // window * window if start is None else start
        self.ledger = Ledger(place or self.path)
        self.audit(Observed(tap=BUS))
        self.windows.begin(self.start)

    def audit(self, observed: Observed) -> None:
        settings = Audit(window=self.window, grace=1)
        self.windows = AuditWindows(self.ledger, settings, observed, [BUS])

    def receive(self, message_id: str, after: float, handled: bool = True) -> None:
        """Let busmon receive a message that was sent 0.25 s before."""
        judged = ("handled", "") if handled else ("ignored", "releng")
        at = self.start + after
        self.ledger.record(
            [Observation(Series(BUS, TOPIC, *judged), message_id, at, sent_at=at - 0.25)]
        )

    def report(self, message_id: str, state: str = "passed") -> None:
        """Let the tap report what the listener did with a message."""
        task = f"task-of-{message_id}" if state == "passed" else None
        with self.ledger.write() as tables:
            tables.tap_reports.add(BUS, [TapReport(message_id, TOPIC, state, task)], self.start)

    def watch(self, since: float, until: float, kind: str = "tap") -> None:
        """Let an observer watch."""
        with self.ledger.write() as tables:
            tables.coverage.add_span(f"{kind}:{BUS}", self.start + since, self.start + until, 0)

    def close(self, until: float) -> None:
        """Close the windows that are over by then."""
        while self.windows.close_next(self.start + until):
            pass
