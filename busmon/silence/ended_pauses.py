"""The pauses of topics that have ended, noted until they are written."""

from collections.abc import Mapping

from busmon.ledger.ledger import Ledger
from busmon.ledger.silence import Pause
from busmon.message import Topic
from busmon.silence.blind_time import BlindTime
from busmon.silence.learning import Learned
from busmon.silence.newest import NewestMessages
from busmon.silence.rates import DAY_SECONDS


class EndedPauses:
    """The longest pause of each topic and day that is not yet in the ledger."""

    def __init__(self, ledger: Ledger, blind_time: BlindTime, newest: NewestMessages) -> None:
        self._ledger = ledger
        self._blind_time = blind_time
        self._newest = newest
        self._last: dict[Topic, float] = {}  # when the newest message came, when it was looked at
        self._pauses: dict[Topic, dict[int, float]] = {}

    def note(self, learned_of: Mapping[Topic, Learned]) -> None:
        """Note the pauses that have ended since the last call."""
        last = self._newest.recorded()
        for topic, received in last.items():
            before, learned = self._last.get(topic, received), learned_of.get(topic)
            if received <= before or learned is None:
                continue
            baseline = learned.baseline
            blind = self._blind_time.reception(topic.bus).blind_between(before, received)
            # So that an outage is not learned as usual, it counts as no more than the limit.
            pause = min(baseline.expected(before, received, blind), baseline.limit)
            of_topic = self._pauses.setdefault(topic, {})
            day = int(received // DAY_SECONDS)
            of_topic[day] = max(of_topic.get(day, 0.0), pause)
        self._last = last

    def write(self) -> None:
        """Write them. Raises LedgerWriteError."""
        pauses = [
            Pause(*topic, day, expected)
            for topic, days in self._pauses.items()
            for day, expected in days.items()
        ]
        with self._ledger.write() as tables:
            tables.silence.add_pauses(pauses)
        self._pauses = {}
