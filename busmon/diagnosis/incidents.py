"""The memory of the verdicts: each time in which all was not well, in the log and the ledger.

The verdict's thread notes what it found, in memory only. Another thread writes it, and tries
again if that fails: a dead disk holds up no verdict.
"""

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from busmon.diagnosis.verdict import FaultKind, Verdict
from busmon.ledger.errors import LedgerWriteError
from busmon.ledger.incidents import Incident
from busmon.ledger.ledger import Ledger
from busmon.problem_log import ProblemLog
from busmon.text import format_duration

END_SECONDS = 60.0  # without a fault until its incident is over: one that flickers is one incident
START_SECONDS = 5.0  # after a start: busmon may still be connecting
RESUME_SECONDS = 300.0  # after a start: an incident that is seen again by then was never over
SURE_SECONDS = 60.0  # after a start, until each observer has had the time to report
KEEP_SECONDS = 60.0  # between two writes of an incident that goes on; less while it is short
WRITE_SECONDS = 2.0  # between two looks whether there is something to write
SHOWN = 5  # the last incidents, in memory
MAX_LINES = 8  # of evidence that are kept
MAX_BYTES = 1000  # of all these lines

log = logging.getLogger(__name__)

Key = tuple[str, str]  # bus and kind


@dataclass(slots=True)
class _Open:
    """An incident whose end is not known yet."""

    incident: Incident
    due: float  # when to write it again
    gone: float | None = None  # since when the verdict has been another one
    resumed: bool = True  # False: an earlier run of busmon saw it, and this one has not yet


class IncidentLog:
    """The incidents of all buses: one thread notes verdicts, any may read. Raises LedgerError.

    What is not written yet is little: while the ledger cannot be written, the verdict on each bus
    is the same.
    """

    def __init__(self, ledger: Ledger, now: float) -> None:
        self._ledger = ledger
        self._started = self._now = now
        self._lock = threading.Lock()
        self._unproven: dict[Key, float] = {}  # faults that are no incidents yet, since then
        self._changed: dict[tuple[str, str, float], Incident] = {}  # and not written yet
        with ledger.read() as tables:
            latest, unfinished = tables.incidents.latest(SHOWN), tables.incidents.open()
        self._ended = deque((one for one in latest if one.ended is not None), SHOWN)
        self._open = {(one.bus, one.kind): _Open(one, due=now, resumed=False) for one in unfinished}
        self._latest: Sequence[Incident] = latest
        self._problems = ProblemLog(log)

    def note(self, verdicts: Mapping[str, Verdict], now: float) -> None:
        """Note the verdicts of now: incidents begin, go on and end."""
        faults = {
            (bus, verdict.kind.value): verdict.evidence
            for bus, verdict in verdicts.items()
            if verdict.kind is not FaultKind.NONE
        }
        with self._lock:
            self._follow_clock(now)
            self._unproven = {
                key: self._unproven.get(key, now) for key in faults if key not in self._open
            }
            for key, evidence in faults.items():
                self._see(key, _kept(evidence), now)
            for key in self._open.keys() - faults.keys():
                self._miss(key, now)
            known = [*self._ended, *(one.incident for one in self._open.values())]
            self._latest = sorted(known, key=lambda one: one.began)[-SHOWN:]

    def began(self, bus: str, kind: FaultKind) -> float | None:
        """Return when the incident of this kind began; None if there is none now."""
        found = self._open.get((bus, kind.value))
        return found.incident.began if found else None

    def uncertain(self, bus: str) -> list[Incident]:
        """Return those of an earlier run that may go on, until each observer can have reported."""
        if self._now >= self._started + SURE_SECONDS:
            return []
        return [o.incident for o in self._open.values() if o.incident.bus == bus and not o.resumed]

    def latest(self) -> Sequence[Incident]:
        """Return the last incidents of all buses, up to `SHOWN`, in order of their begin."""
        return self._latest

    def run(self, stopping: threading.Event) -> None:
        """Write what has changed until `stopping`, and then how far each incident has come."""
        while not stopping.wait(WRITE_SECONDS):
            self.write()
        with self._lock:
            for one in self._open.values():
                self._change(one.incident)
        self.write()

    def write(self) -> None:
        """Write what has changed; what cannot be written stays changed."""
        with self._lock:
            changed = dict(self._changed)
        if not changed:
            return
        try:
            with self._ledger.write() as tables:
                tables.incidents.save(changed.values())
        except LedgerWriteError as error:
            self._problems.problem(f"incidents: cannot be written, but are kept: {error}")
            return
        self._problems.solved("incidents: written again")
        with self._lock:
            for key, incident in changed.items():
                if self._changed.get(key) is incident:
                    del self._changed[key]

    def _follow_clock(self, now: float) -> None:
        """If the clock was set back, do not wait until it has come as far again."""
        if now < self._now:
            self._started = min(self._started, now)
            for one in self._open.values():
                one.due = min(one.due, now)
                one.gone = None if one.gone is None else min(one.gone, now)
        self._now = now

    def _see(self, key: Key, evidence: tuple[str, ...], now: float) -> None:
        one = self._open.get(key)
        if one is None:
            if key[1] == FaultKind.CONNECTION and now < self._started + START_SECONDS:
                return
            began = self._unproven.pop(key)
            incident = Incident(*key, began, now, first_evidence=evidence)
            one = self._open[key] = _Open(incident, due=now)
            log.warning("%s: verdict: %s: %s", *key, "; ".join(evidence[:1]))
        incident, away = one.incident, one.incident.away
        if not one.resumed:
            log.warning("%s: verdict, still: %s: %s", *key, "; ".join(evidence[:1]))
            away += max(0.0, self._started - incident.seen)
        seen = max(now, incident.seen)
        one.incident = incident._replace(seen=seen, away=away, last_evidence=evidence)
        one.gone, one.resumed = None, True
        if now >= one.due:
            one.due = now + min(KEEP_SECONDS, seen - incident.began)
            self._change(one.incident)

    def _miss(self, key: Key, now: float) -> None:
        one = self._open[key]
        if one.resumed:
            one.gone = now if one.gone is None else one.gone
            over, ended = one.gone + END_SECONDS, one.gone
        else:
            over, ended = self._started + RESUME_SECONDS, self._started + SURE_SECONDS
        if now >= over:
            del self._open[key]
            incident = one.incident._replace(ended=max(ended, one.incident.seen))
            self._ended.append(incident)
            duration = format_duration(incident.seen - incident.began)
            log.info("%s: no longer the verdict: %s, after %s", *key, duration)
            self._change(incident)

    def _change(self, incident: Incident) -> None:
        self._changed[incident.bus, incident.kind, incident.began] = incident


def _kept(evidence: Sequence[str]) -> tuple[str, ...]:
    """Return what is stored of the evidence: some lines, which the ledger's text can hold."""
    lines = (" ".join(line.split()) for line in evidence[:MAX_LINES])
    content = "\n".join(lines).encode(errors="backslashreplace")
    text = content[:MAX_BYTES].decode(errors="ignore")
    return tuple(text.split("\n")) if len(content) <= MAX_BYTES else (*text.split("\n"), "…")
