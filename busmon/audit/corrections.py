"""Corrections of closed windows: what is reported later of messages that were missing or running.

Counters only go up. A message that was missing and reached its stage after all is recovered;
one that a worker had when its window was closed is done or missing later.
"""

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import NamedTuple

from busmon.ledger.coverage import MAX_GAP_SECONDS
from busmon.ledger.open_messages import OpenMessage
from busmon.ledger.tables import Tables
from busmon.ledger.windows import Place, Totals
from busmon.message import Stage

LATE = 24 * 3600.0  # seconds from a window's start in which it may still be corrected
AT_ONCE = 500  # messages of a step, which takes some milliseconds


class CorrectionKind(StrEnum):
    """What has become of a message that a closed window left open."""

    RECOVERED = "recovered"  # it was missing, and reached its stage
    DONE = "done"  # a worker had it, and finished it
    LOST = "lost"  # a worker had it, for too long
    UNKNOWN = "unknown"  # a worker had it, but nobody watched


class Correction(NamedTuple):
    """What is to be written of one open message."""

    kind: CorrectionKind
    message: OpenMessage


def find(
    tables: Tables, now: float, after: OpenMessage | None
) -> tuple[list[Correction], OpenMessage | None]:
    """Return what is to be corrected of some open messages, and the last one looked at.

    The next call goes on `after` that one; it is None when all missing messages were looked at.
    """
    missing = tables.open_messages.missing(now - LATE, after, AT_ONCE)
    found = [
        Correction(CorrectionKind.RECOVERED, message)
        for message in missing
        if message.trace.reached(message.stage)
    ]
    # An observer's next sign of life may take a while: only then can it have been blind.
    running = tables.open_messages.running(now - MAX_GAP_SECONDS, AT_ONCE)
    found += (Correction(_kind(tables, message), message) for message in running)
    return found, missing[-1] if len(missing) == AT_ONCE else None


def _kind(tables: Tables, message: OpenMessage) -> CorrectionKind:
    if message.trace.finished:
        return CorrectionKind.DONE
    observer, due = f"celery:{message.bus}", message.due or message.start
    if tables.coverage.is_covered(observer, message.start, due):
        return CorrectionKind.LOST
    return CorrectionKind.UNKNOWN


def apply(
    tables: Tables, found: Sequence[Correction], now: float, worked: Collection[str], due: float
) -> None:
    """Write corrections, inside a transaction of the caller's.

    `worked` are the buses whose workers are audited. They should have finished until `due`
    what the listener passed on only now.
    """
    for kind, message in found:
        start, bus, stage, trace, _ = message
        place = Place(bus, trace.topic, stage)
        if kind is not CorrectionKind.RECOVERED:
            tables.open_messages.remove_running(message)
        match kind:
            case CorrectionKind.RECOVERED:
                tables.open_messages.mark_recovered(message, now)
                tables.windows.correct(start, place, Totals(recovered=1))
                if stage is Stage.LISTENER and bus in worked and trace.task is not None:
                    tables.open_messages.add_running(bus, start, [trace], due)
            case CorrectionKind.DONE:
                tables.windows.correct(start, place, Totals(messages=1))
            case CorrectionKind.LOST:
                tables.open_messages.add_missing(bus, start, [(stage, trace)])
                tables.windows.correct(start, place, Totals(missing=1))
            case CorrectionKind.UNKNOWN:
                tables.windows.mark_no_data(start, bus, stage)
