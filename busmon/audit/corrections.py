"""Corrections of closed windows, by what observers report later of their open messages.

Counters only go up. A message that was missing and then reached its stage is recovered. One
that a worker had when its window was closed is finished or missing later.
"""

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import NamedTuple

from busmon.ledger.coverage import MAX_GAP_SECONDS, observer_id
from busmon.ledger.open_messages import OpenMessage
from busmon.ledger.tables import Tables
from busmon.ledger.windows import Place, Totals
from busmon.message import Stage

MAX_AGE_SECONDS = 24 * 3600.0  # after the start of a window, in which it is corrected
MAX_ROWS = 500  # of a step, which takes some milliseconds


class CorrectionKind(StrEnum):
    """What became of a message that a closed window left open."""

    RECOVERED = "recovered"  # it was missing, and reached its stage
    FINISHED = "finished"  # a worker had it, and finished it
    MISSING = "missing"  # a worker had it, and did not finish it in time
    UNKNOWN = "unknown"  # a worker had it, but the workers were not watched all the time


class Correction(NamedTuple):
    """What is to be written of one open message."""

    kind: CorrectionKind
    message: OpenMessage


def find(
    tables: Tables, now: float, after: OpenMessage | None
) -> tuple[list[Correction], OpenMessage | None]:
    """Return the corrections of some open messages, and the last missing one that was checked.

    The next call goes on `after` that one. It is None once all missing messages were checked.
    """
    missing = tables.open_messages.missing(now - MAX_AGE_SECONDS, after, MAX_ROWS)
    found = [
        Correction(CorrectionKind.RECOVERED, message)
        for message in missing
        if message.trace.reached(message.stage)
    ]
    # Only this much later is it known whether the workers were watched until the task was due.
    running = tables.open_messages.running(now - MAX_GAP_SECONDS, MAX_ROWS)
    found += [Correction(_kind_of_running(tables, message), message) for message in running]
    return found, missing[-1] if len(missing) == MAX_ROWS else None


def _kind_of_running(tables: Tables, message: OpenMessage) -> CorrectionKind:
    if message.trace.finished:
        return CorrectionKind.FINISHED
    observer, due = observer_id("celery", message.bus), message.due or message.start
    if tables.coverage.is_covered(observer, message.start, due):
        return CorrectionKind.MISSING
    return CorrectionKind.UNKNOWN


def apply(
    tables: Tables, found: Sequence[Correction], now: float, audited: Collection[str], due: float
) -> None:
    """Write corrections, inside the caller's transaction.

    `audited` are the buses whose workers are audited. What was passed on only now must be
    finished there when it is `due`, a Unix time.
    """
    for kind, message in found:
        match kind:
            case CorrectionKind.RECOVERED:
                tables.open_messages.mark_recovered(message, now)
                _add(tables, message, Totals(recovered=1))
                if message.bus in audited:
                    _follow(tables, message, due)
            case CorrectionKind.FINISHED:
                tables.open_messages.remove_running(message)
                _add(tables, message, Totals(messages=1))
            case CorrectionKind.MISSING:
                tables.open_messages.remove_running(message)
                missing = [(message.stage, message.trace)]
                tables.open_messages.add_missing(message.bus, message.start, missing)
                _add(tables, message, Totals(missing=1))
            case CorrectionKind.UNKNOWN:
                tables.open_messages.remove_running(message)
                tables.windows.mark_no_data(message.start, message.bus, message.stage)


def _add(tables: Tables, message: OpenMessage, added: Totals) -> None:
    place = Place(message.bus, message.trace.topic, message.stage)
    tables.windows.correct(message.start, place, added)


def _follow(tables: Tables, message: OpenMessage, due: float) -> None:
    """Expect of the workers what the listener passed on only now."""
    if message.stage is Stage.LISTENER and message.trace.task is not None:
        tables.open_messages.add_running(message.bus, message.start, [message.trace], due)
