"""The messages that were lost while the listener was absent, once that is known."""

from collections.abc import Iterator

from busmon.audit.absences import Absence, AbsenceSource, absences
from busmon.audit.balance import next_window
from busmon.audit.corrections import MAX_ROWS, Correction, CorrectionKind
from busmon.audit.scope import Scopes
from busmon.ledger.messages import MessageTrace
from busmon.ledger.open_messages import OpenMessage, State
from busmon.ledger.tables import Tables
from busmon.message import Stage
from busmon.settings.audit import Audit

DAY_SECONDS = 86400.0  # an absence may become known that long after its end


class Losses:
    """Finds lost messages, in one thread."""

    def __init__(self, scopes: Scopes, settings: Audit) -> None:
        self._sources = {bus: scope.absences for bus, scope in scopes.items() if scope.absences}
        self._settings = settings
        self._oldest = 0.0  # Unix time: the end of the absences that are looked at
        self._counted: dict[tuple[str, float], float] = {}  # of an absence: up to when

    def find(self, tables: Tables, closed_until: float) -> list[Correction]:
        """Return corrections for some messages of closed windows; empty if there are no more.

        What the last call returned must have been written.
        """
        day_ago = closed_until - DAY_SECONDS
        for bus, source in self._sources.items():
            # What was missing and has ended may no longer be on record after a day.
            oldest = day_ago if source is AbsenceSource.QUEUE else self._oldest
            for absence in absences(tables, bus, source, self._settings.grace, oldest):
                end = min(absence.until, closed_until)
                begun = absence.since - absence.unhandled
                since = self._counted.get((bus, begun), begun)
                part = absence._replace(since=since, until=end)
                if since >= end:
                    continue
                if found := list(self._lost(tables, bus, source, part)):
                    return found
                self._counted[bus, begun] = end
        self._oldest = day_ago
        self._counted = {key: end for key, end in self._counted.items() if end > day_ago}
        return []

    def _lost(
        self, tables: Tables, bus: str, source: AbsenceSource, absence: Absence
    ) -> Iterator[Correction]:
        since, until, estimated, _ = absence
        if source is AbsenceSource.TAP:
            for message in tables.open_messages.unconfirmed(bus, since, until, MAX_ROWS):
                kind = CorrectionKind.LOST if estimated else CorrectionKind.MISSING
                yield Correction(kind, message)
            return
        for trace in tables.absences.not_counted(bus, since, until, MAX_ROWS):
            yield Correction(CorrectionKind.LOST, self._opened(bus, trace))

    def _opened(self, bus: str, trace: MessageTrace) -> OpenMessage:
        at, length = trace.received_at or 0.0, self._settings.window
        end = next_window(at, length)
        return OpenMessage(end - length, end, bus, Stage.LISTENER, State.MISSING, trace)
