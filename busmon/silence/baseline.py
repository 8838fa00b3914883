"""What is usual of a topic: pure functions of hourly counts and of the longest pauses."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile

from busmon.silence.campaigns import in_campaigns
from busmon.silence.limit import learned_limit
from busmon.silence.pace import COMMON, OWN, Pace, pace_at_end
from busmon.silence.rates import (
    LEARNED_HOURS,
    MIN_DAYS,
    MIN_MESSAGES,
    WEEK_HOURS,
    Hour,
    Rates,
    learn_rare_rates,
    learn_rates,
)

MIN_PAUSE_HOURS = 0.25  # at the mean rate; a shorter pause is never silence
COMMON_HOURS = 4 * 24  # before the last message, which the pace of the bus remembers


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is usual for one topic."""

    rates: Rates
    pace: float
    limit: float  # messages
    recent: float = 1.0  # the pace that it has in that of the bus
    longest: float = 0.0  # seconds without a message, so far
    campaigns: bool = False  # it comes for some days, then not at all for many: nothing is usual

    def expected(
        self, since: float, until: float, blind_times: Iterable[tuple[float, float]]
    ) -> float:
        """Return the expected messages between two Unix times, without those of blind times."""
        if until <= since:
            return 0.0
        unseen = sum(
            self.rates.expected(max(start, since), min(end, until))
            for start, end in blind_times
            if start < until and end > since
        )
        return max(0.0, self.rates.expected(since, until) - unseen) * self.pace


def is_rare(history: Sequence[Hour]) -> bool:
    """Return whether a history that ends with the last message has too little in 13 weeks."""
    if not history:
        return True
    first = history[-1].hour - LEARNED_HOURS
    return too_few((one.hour, one.messages) for one in history if one.messages and one.hour > first)


def too_few(hours: Iterable[tuple[int, int]]) -> bool:
    """Return whether these hours and their messages are too few, or on too few days, to learn."""
    known = list(hours)
    days = {hour // 24 for hour, _ in known}
    return len(days) < MIN_DAYS * 0.9 or sum(messages for _, messages in known) < MIN_MESSAGES


def to_learn_from(history: Sequence[Hour]) -> list[Hour]:
    """Return the part of a history up to now that teaches: 13 weeks, or all of a rare topic's.

    It ends with the hour of the last message: a pause that is not over teaches nothing. It begins
    with a message only if the topic is new.
    """
    known = list(dropwhile(lambda hour: not hour.messages, reversed(history)))[::-1]
    known = list(dropwhile(lambda hour: not hour.messages, known))
    return known if is_rare(known) else known[-LEARNED_HOURS:]


def learn(history: Sequence[Hour], recorded: Mapping[int, float]) -> Baseline | None:
    """Return the baseline of a topic, or None if there is too little history.

    `history` has no gaps and ends now. `recorded` are the longest pauses of days, in the messages
    that were expected at that time; they are more exact than hourly counts.
    """
    known = to_learn_from(history)
    rare = is_rare(known)
    rates = (learn_rare_rates if rare else learn_rates)(known)
    if rates is None:
        return None
    pace, longest = reconstruct_pauses(known, rates)
    days = longest | dict(recorded)
    frequency = len(longest) / (len(known) / 24) if rare else 1.0
    most = learned_limit({} if rare else recorded, days if rare else longest, frequency)
    if most is None:
        return None
    return Baseline(
        rates,
        pace.factor(),
        max(most, MIN_PAUSE_HOURS * rates.mean()),
        pace_at_end(known[-COMMON_HOURS:], rates, COMMON).factor(),
        _longest_seconds(known),
        in_campaigns(known),
    )


def reconstruct_pauses(history: Sequence[Hour], rates: Rates) -> tuple[Pace, dict[int, float]]:
    """Return the pace at the last message, and the longest pause that ended on each day.

    Pauses are in expected messages. Within an hour nothing is known of them, so the longest
    possible pause is assumed.
    """
    fading = OWN.decay(rates)
    came = usual = 0.0  # of the pace
    pace, factor, pause = Pace(), 1.0, 0.0  # at the last message, and since then
    longest: dict[int, float] = {}
    for hour, messages, watched in history:
        expected = rates.hourly[hour % WEEK_HOURS] * watched
        pause += expected * factor
        came, usual = came * fading + messages, usual * fading + expected
        if not messages:
            continue
        longest[hour // 24] = max(longest.get(hour // 24, 0.0), pause)
        pace = Pace(came, usual)
        factor = pace.factor()
        pause = expected * factor / 2
    return pace, longest


def _longest_seconds(history: Iterable[Hour]) -> float:
    longest = hours = 0.0
    for hour in history:
        hours = 0.0 if hour.messages else hours + hour.watched
        longest = max(longest, hours)
    return 3600.0 * longest
