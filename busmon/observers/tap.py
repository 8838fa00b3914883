"""What the tap in the listener's process reports, taken into the ledger by message id."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from prometheus_client.core import Metric
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)

from busmon.ledger.coverage import MAX_GAP_SECONDS
from busmon.ledger.ledger import Ledger
from busmon.ledger.tap_reports import TapReport
from busmon.metrics.families import counter
from busmon.observers.base import Observer, ObserverSettings

STATES = ("passed", "dropped", "raised")
REFUSALS = ("method", "token", "type", "length", "size", "malformed", "bus", "ledger")
DELAY = 1.0  # seconds by which two batches of a tap may take differently long to arrive
REMEMBERED = 100  # processes of the listener; more than that restart in no minute

log = logging.getLogger(__name__)

Text = Annotated[str, Field(min_length=1, max_length=255)]
Ago = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=0, le=2**53)]


def _ascii(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if text.isascii() and text.isprintable():
        return secret
    raise ValueError("should be of printable ASCII characters")


class TapSettings(ObserverSettings):
    """`[audit.reports]`: the tap in the listener's process reports to /v1/reports."""

    token: Annotated[SecretStr, AfterValidator(_ascii)]

    def make_observer(self, ledger: Ledger) -> Observer:
        """See ObserverSettings."""
        return TapObserver(ledger, self.bus)

    def describe(self) -> str:
        """See ObserverSettings."""
        return f"of the tap of {self.bus}, at /v1/reports with a bearer token"


class ReportedMessage(BaseModel):
    """What the listener did with a message."""

    model_config = ConfigDict(strict=True, frozen=True)

    id: Text
    topic: Annotated[str, Field(max_length=255)]
    state: Literal["passed", "dropped", "raised"]
    task: Text | None = None  # the first that was published


class ReportBatch(BaseModel):
    """Some reports of one tap, in their order; all that there was from `since` to `until`."""

    model_config = ConfigDict(strict=True, frozen=True)

    tap: Text  # one process of the listener
    seq: Annotated[int, Field(ge=1, le=2**53)]  # the same when sent again
    bus: Text
    since: Ago  # seconds before it was sent
    until: Ago
    lost: Whole  # reports before `since` that the tap could not keep
    last: bool = False  # the process ends, and has told everything
    reports: Annotated[list[ReportedMessage], Field(max_length=1000)]


class Malformed(Exception):
    """Not a batch of reports; the text says where, and repeats nothing of it."""


def parse(content: bytes) -> ReportBatch:
    """Return the batch that `content` is; raises Malformed."""
    try:
        return ReportBatch.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(key) for key in first["loc"])
        raise Malformed(f"{place}: {first['type']}" if place else first["type"]) from None


@dataclass(slots=True)
class _Tap:
    """A process of the listener, as far as busmon knows it."""

    seq: int = -1
    ended: bool = False


class TapObserver:
    """Takes the reports for one bus; an observer of kind `tap`. Thread-safe.

    Of several reports of one message, delivered again, the one that says most stays: passed
    before dropped, and that before raised.
    """

    kind = "tap"

    def __init__(
        self, ledger: Ledger, bus: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.bus = bus
        self._ledger = ledger
        self._clock = clock
        self._taking = threading.Lock()  # also while it is written
        self._counting = threading.Lock()  # a moment at most
        self._taps: dict[str, _Tap] = {}
        self._last_report = float("-inf")  # monotonic, of the last batch
        self._states = Counter(dict.fromkeys(STATES, 0))
        self._refusals = Counter(dict.fromkeys(REFUSALS, 0))
        self._lost = 0

    def take(self, batch: ReportBatch, now: float) -> None:
        """Write the reports and what they cover in one transaction; `now` in Unix time.

        Raises LedgerWriteError, and then nothing of it is taken.
        """
        with self._taking:
            tap = self._taps.get(batch.tap)
            again = tap is not None and batch.seq <= tap.seq
            newest = next(reversed(self._taps.values()), None)
            # After a process that told everything before its end, its successor misses
            # nothing: there was no listener. One that was killed had more to tell.
            first = batch.seq == 1
            succeeds = first and tap is None and newest is not None and newest.ended
            since, until = now - batch.since, now - batch.until
            max_gap = MAX_GAP_SECONDS if succeeds else 0 if first or batch.lost else DELAY
            with self._ledger.write() as tables:
                reports = (TapReport(r.id, r.topic, r.state, r.task) for r in batch.reports)
                tables.tap_reports.add(self.bus, reports, now)
                tables.coverage.add_span(f"tap:{self.bus}", min(since, until), until, max_gap)
            self._remember(batch)
            self._last_report = self._clock()
            if not again:
                with self._counting:
                    self._states.update(one.state for one in batch.reports)
                    self._lost += batch.lost

    def refuse(self, reason: str) -> None:
        """Count a request that is not taken, by one of REFUSALS."""
        with self._counting:
            self._refusals[reason] += 1

    def run(self, stopping: threading.Event) -> None:
        """Log when the tap stops reporting, and when it reports again, until `stopping`."""
        logged = None
        while not stopping.wait(1.0):
            if logged != (problem := self.problem()):
                logged = problem
                log.warning("tap:%s: %s", self.bus, problem or "reports again")

    def up(self) -> bool:
        """Return whether the tap has reported within the last MAX_GAP_SECONDS."""
        return self._clock() - self._last_report < MAX_GAP_SECONDS

    def problem(self) -> str | None:
        """Return that the tap does not report, or None if it does."""
        if self.up():
            return None
        never = self._last_report == float("-inf")
        return "no report yet" if never else f"no report for {MAX_GAP_SECONDS:g} s"

    def collect(self) -> Iterator[Metric]:
        """Yield what was taken, refused and lost, since this process started."""
        with self._counting:
            states, refusals, lost = dict(self._states), dict(self._refusals), self._lost
        yield counter(
            "busmon_tap_reports_total",
            "Messages of which the tap in the listener's process reported what became of them.",
            ["bus", "state"],
            (((self.bus, state), number) for state, number in states.items()),
        )
        yield counter(
            "busmon_tap_lost_reports_total",
            "Reports that the tap could not keep until busmon took them.",
            ["bus"],
            [((self.bus,), lost)],
        )
        yield counter(
            "busmon_tap_reports_refused_total",
            "Requests to /v1/reports that were not taken, by why.",
            ["reason"],
            (((reason,), number) for reason, number in refusals.items()),
        )

    def _remember(self, batch: ReportBatch) -> None:
        tap = self._taps.pop(batch.tap, None) or _Tap()  # back in as the newest
        tap.seq, tap.ended = max(tap.seq, batch.seq), batch.last
        self._taps[batch.tap] = tap
        while len(self._taps) > REMEMBERED:
            del self._taps[next(iter(self._taps))]
