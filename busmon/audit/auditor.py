"""Closes the books in a thread of its own, and shows what they come to."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from prometheus_client.core import Metric

from busmon.audit.windows import AuditWindows, Observed
from busmon.ledger.ledger import Ledger, LedgerWriteError
from busmon.ledger.sqlite import LedgerError
from busmon.ledger.windows import Totals
from busmon.message import Outcome, Stage
from busmon.metrics.families import counter, gauge
from busmon.settings.audit import Audit

TICK = 15.0  # seconds between two looks at what is due
YIELD_SECONDS = 0.02  # seconds between two steps, for counting to go on
STEPS = 20  # of corrections in one look

log = logging.getLogger(__name__)

Labels = tuple[str, str, str]  # bus, topic, stage


class Auditor:
    """The audit of these buses. Making one raises LedgerError where the ledger is no good."""

    def __init__(
        self,
        settings: Audit,
        observed: Observed,
        ledger: Ledger,
        retention: float,
        buses: Sequence[str],
    ) -> None:
        try:
            self._books = AuditWindows(ledger, settings, observed, buses)
            self._books.open(time.time())
        except LedgerWriteError as error:  # the number of a new bus
            raise LedgerError(f"{ledger.path}: can't be written: {error}") from error
        self._ledger = ledger
        self._retention = retention
        self._tick = min(TICK, settings.window / 4)
        self._problem = ""

    def run(self, stopping: threading.Event) -> None:
        """Close and correct until `stopping`; what fails is logged once and tried again."""
        while not stopping.is_set():
            problem = ""
            try:
                self._work(stopping)
            except (LedgerWriteError, LedgerError) as error:
                problem = str(error)
            if problem and problem != self._problem:
                log.warning("audit: no window can be closed: %s", problem)
            self._problem = problem
            stopping.wait(self._tick)

    def sums(self) -> Mapping[Labels, Totals]:
        """Return what the closed windows come to, from memory."""
        return self._books.sums()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, from memory."""
        sums, stages, topics = self._books.sums(), self._books.stages, self._topics()
        passed = {
            bus: [stage for stage in on if stage is not Stage.BUS] for bus, on in stages.items()
        }
        should = {place: on for place, on in topics.items() if on}
        exact = self._books.exact
        by_number = [
            (b, "", stage) for b, on in stages.items() for stage in on if not exact(b, stage)
        ]

        def by_topic(at: Mapping[str, Sequence[Stage]]) -> list[Labels]:
            return [(b, t, stage) for b, t in should for stage in at[b] if exact(b, stage)]

        # The same series of both, so that one can be subtracted from the other.
        lacking = [*by_topic(passed), *by_number]
        yield _counter(
            "messages",
            "Messages of closed windows that were to be handled and came by at the stage.",
            _filled(sums, [*by_topic(stages), *by_number], "messages"),
        )
        yield _counter(
            "missing",
            "Messages of closed windows that came by at the stage before, but not at this one.",
            _filled(sums, lacking, "missing"),
        )
        yield _counter(
            "recovered",
            "Missing messages that came by at the stage after all, within a day.",
            _filled(sums, lacking, "recovered"),
        )
        yield _counter(
            "unexpected",
            "Messages of closed windows that the rules ignore, and the listener passed on.",
            _filled(
                sums,
                [
                    (b, t, Stage.LISTENER)
                    for b, t in topics
                    if Stage.LISTENER in stages[b] and b != self._books.counted
                ],
                "unexpected",
            ),
        )
        places = [(bus, stage) for bus, on in stages.items() for stage in on]
        yield counter(
            "busmon_audit_no_data_windows_total",
            "Closed windows in which not all was seen at the stage: nothing is told missing there.",
            ["bus", "stage"],
            ((place, sums.get((place[0], "", place[1]), Totals()).no_data) for place in places),
        )
        yield gauge(
            "busmon_audit_exact",
            "1 where the books are balanced by the ids of messages, 0 where by their numbers.",
            ["bus", "stage"],
            ((place, self._books.exact(*place)) for place in places),
        )
        closed = self._books.last_closed()
        yield gauge(
            "busmon_audit_last_closed_timestamp_seconds",
            "Unix time at which the last closed window ended.",
            [],
            [] if closed is None else [((), closed)],
        )

    def _work(self, stopping: threading.Event) -> None:
        now = time.time()
        pausing = partial(stopping.wait, YIELD_SECONDS)
        while self._books.close_next(now, now - self._retention) and not pausing():
            pass
        for _ in range(STEPS):
            if not self._books.correct(now) or pausing():
                break
        while self._books.forget(now, self._retention) and not pausing():
            pass

    def _topics(self) -> dict[tuple[str, str], bool]:
        """Return the known topics of the buses, and whether any of their messages is handled."""
        topics: dict[tuple[str, str], bool] = {}
        for series in self._ledger.counts():
            if series.bus in self._books.stages:
                place = series.bus, series.topic
                topics[place] = topics.get(place, False) or series.outcome == Outcome.HANDLED
        return topics


def _filled(
    sums: Mapping[Labels, Totals], known: Sequence[Labels], name: str
) -> Mapping[Labels, int]:
    """Return one of the sums: that of every series known, and whatever there is beyond."""
    counted = {labels: getattr(of, name) for labels, of in sums.items() if getattr(of, name)}
    return dict.fromkeys(known, 0) | counted


def _counter(name: str, text: str, values: Mapping[Labels, int]) -> Metric:
    return counter(f"busmon_audit_{name}_total", text, ["bus", "topic", "stage"], values.items())
