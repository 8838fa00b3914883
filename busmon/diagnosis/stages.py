"""Facts of the audit: what the last closed windows of a bus add up to at each stage."""

from collections import Counter
from collections.abc import Mapping

from busmon.diagnosis.facts import StageCounts
from busmon.diagnosis.history import History
from busmon.ledger.windows import Place, Totals
from busmon.message import Stage

RECENT_WINDOWS = 3  # older ones no longer count

Key = tuple[Stage, str]  # a stage, and which of its totals


class RecentWindows:
    """The totals of one bus, and what they were some windows ago."""

    def __init__(self, bus: str, seconds: float) -> None:
        self._bus = bus
        self._totals = History[Counter[Key]](seconds)
        self._recent = Counter[Key]()  # what was added to the totals in that time
        self._lost: Mapping[Stage, int] = {}

    def add(self, now: float, totals: Mapping[Place, Totals], lost: Mapping[Stage, int]) -> None:
        """Add the totals of all closed windows; `lost` are all messages of open gaps by stage."""
        counts = Counter[Key]()
        for (bus, _, stage), of in totals.items():
            if bus == self._bus:
                counts.update({(stage, name): number for name, number in of._asdict().items()})
        self._totals.add(now, counts)
        self._recent = counts - (self._totals.oldest() or Counter())
        self._lost = lost

    def counts(self, stage: Stage) -> StageCounts | None:
        """Return the counts of the recent windows at a stage; None if there is nothing."""
        messages, missing, unexpected = (
            self._recent[stage, name] for name in ("messages", "missing", "unexpected")
        )
        if not (messages or missing or unexpected):
            return None
        # What was recovered may have been missing for long, so it says nothing of these.
        lost = min(missing, self._lost.get(stage, 0))
        return StageCounts(messages + missing, lost, unexpected)
