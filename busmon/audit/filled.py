"""Enters messages that only the archive had into windows that were closed before.

They are balanced as those that busmon received, at the time when they were sent. What a listener
did not report is missing if its tap watched, or if the listener was absent.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from busmon.audit.absences import Absence, absences
from busmon.audit.balance import Opened, WindowBalance, balance, next_window
from busmon.audit.corrections import add_open
from busmon.audit.scope import Scope
from busmon.ledger.messages import MessageTrace
from busmon.ledger.open_messages import OpenMessage, State
from busmon.ledger.tables import Tables
from busmon.ledger.windows import Place, Totals, WindowRow
from busmon.message import Stage
from busmon.settings.audit import Audit


def enter(
    tables: Tables, bus: str, scope: Scope, settings: Audit, traces: Iterable[MessageTrace]
) -> None:
    """Add messages to their windows, inside the caller's transaction, which recorded them."""
    windows = defaultdict[float, list[MessageTrace]](list)
    for trace in traces:
        windows[next_window(trace.received_at or 0.0, settings.window)].append(trace)
    known: list[Absence] = []
    if scope.absences and windows:
        oldest = min(windows) - settings.window
        known = list(absences(tables, bus, scope.absences, settings.grace, oldest))
    for end, found in windows.items():
        start = end - settings.window
        covered = [Stage.BUS, *scope.covered(tables.coverage, start, end + settings.grace)]
        balanced = balance(found, scope.stages, covered)
        opened = list(_opened(balanced, found, scope, known))
        due = end + settings.longest_task
        add_open(
            tables,
            (
                OpenMessage(
                    *(start, end, bus, stage, state, trace),
                    due if state is State.RUNNING else None,
                    estimated,
                )
                for (stage, state, trace), estimated in opened
            ),
        )
        tables.windows.add_filled(
            WindowRow(
                start,
                end,
                Place(bus, topic, stage),
                Totals(counts.messages, counts.missing, counts.unexpected),
            )
            for (topic, stage), counts in balanced.counts.items()
        )


def _opened(
    balanced: WindowBalance,
    traces: Iterable[MessageTrace],
    scope: Scope,
    known: Sequence[Absence],
) -> Iterator[tuple[Opened, bool]]:
    """Yield what is open, and whether its time is known to a minute only.

    What came during an absence, and of which nothing is reported, is missing.
    """
    for one in balanced.opened:
        if one.stage is Stage.LISTENER and one.state is State.UNCONFIRMED:
            yield _unless_lost(balanced, one, known)
        else:
            yield one, False
    if Stage.LISTENER in scope.stages:
        return
    for trace in traces:  # only absences are known
        if trace.handled:
            one = Opened(Stage.LISTENER, State.UNCONFIRMED, trace)
            lost, estimated = _unless_lost(balanced, one, known)
            if lost.state is State.MISSING:
                yield lost, estimated


def _unless_lost(
    balanced: WindowBalance, one: Opened, known: Sequence[Absence]
) -> tuple[Opened, bool]:
    at = one.trace.received_at or 0.0
    for absence in known:
        if absence.since - absence.unhandled <= at < absence.until:
            balanced.counts[one.trace.topic, Stage.LISTENER].missing += 1
            return one._replace(state=State.MISSING), absence.estimated
    return one, False
