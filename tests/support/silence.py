"""Hourly counts, and a ledger with a past that is watched for silence."""

from collections.abc import Sequence

from busmon.ledger.batch import Observation, Series
from busmon.ledger.ledger import Ledger
from busmon.message import Judgement, Topic
from busmon.rules import HANDLED, Rules, rule_set
from busmon.settings.silence import Silence
from busmon.silence.blind_time import BlindTime
from busmon.silence.rates import WEEK_HOURS, Hour, Rates
from busmon.silence.state import SilenceState
from busmon.silence.watcher import SilenceWatcher
from busmon.sources.base import ConnectionState
from busmon.sources.bus import Subscription
from tests.ledger.past import past

MONDAY = 1_790_553_600  # 28 September 2026, 0:00 UTC
FIRST = MONDAY // 3600  # hour
DAY = 86400


def history(hourly: Sequence[int], watched: float = 1.0, first: int = FIRST) -> list[Hour]:
    return [Hour(first + index, messages, watched) for index, messages in enumerate(hourly)]


def flat(rate: float = 2.0) -> Rates:
    return Rates.of([rate] * WEEK_HOURS)


class Bench:
    """A ledger with a past of a bus `fedora`, watched without a break until now."""

    def __init__(
        self,
        path: str,
        max_silence: dict[str, int] | None = None,
        retired: dict[str, float] | None = None,
        rules: str = "all",
        expected: dict[str, int] | None = None,
        subscription: Subscription | None = None,
    ) -> None:
        self.ledger = Ledger(path)
        self.connection = ConnectionState()
        self.connection.up()
        self.blind = BlindTime(self.ledger, {"fedora": self.connection}, MONDAY)
        self.blind.tick(MONDAY)
        rule_sets = {"fedora": rule_set(rules, Rules())}
        settings = Silence.model_construct(
            max_silence=max_silence or {}, expected_topics=expected, retired=retired or {}
        )
        known = {} if subscription is None else {"fedora": subscription}
        self.watch = SilenceWatcher(settings, self.ledger, rule_sets, self.blind, known)

    def past(self, topic: str, weeks: int, until: float, rate: int = 2) -> None:
        last = int(until // 3600)
        hours = range(last - weeks * WEEK_HOURS + 1, last + 1)
        past(self.ledger, Series("fedora", topic, "handled", ""), dict.fromkeys(hours, rate), until)

    def receive(self, topic: str, at: float, verdict: Judgement = HANDLED) -> None:
        series = Series("fedora", topic, verdict.outcome, verdict.reason)
        self.ledger.record([Observation(series, f"{topic}{at}", at)])

    def state(self, topic: str, now: float = MONDAY) -> SilenceState:
        return self.watch.states(now)[Topic("fedora", topic)]

    def silent_after(self, now: float, topic: str) -> tuple[bool, bool]:
        """Learn, and return whether the topic is silent, and whether it is gone."""
        self.blind.tick(now)
        self.watch.learn(now)
        state = self.state(topic, now)
        return state.silent, state.gone
