"""Topics that come in campaigns, some days on and many days off: nothing is usual for them."""

from collections.abc import Sequence
from itertools import groupby

from busmon.silence.rates import Hour

MIN_OFF_DAYS = 4  # longer than a weekend with a holiday
MIN_CAMPAIGNS = 3
MIN_ON_DAYS = 2.5  # of a campaign, on average; else it is a rare topic with bursts
MIN_MESSAGES = 3.0  # of a day on, on average; with fewer, some days off are chance
MIN_OFF_SHARE = 0.3  # of all days
WEEKLY = 0.7  # of the weeks in which a weekday is on, and of the days on that such weekdays explain


def in_campaigns(history: Sequence[Hour]) -> bool:
    """Return whether a topic comes for some days, then not at all for many, again and again.

    How long it stays away is then not to be learned from pauses between messages. What follows
    the week is none: the rates by hour of the week know it.
    """
    messages = dict[int, int]()
    for hour in history:
        if hour.watched > 0:
            messages[hour.hour // 24] = messages.get(hour.hour // 24, 0) + hour.messages
    on = {day: number > 0 for day, number in messages.items()}
    runs = [(is_on, len(list(days))) for is_on, days in groupby(on.values())]
    off = [days for is_on, days in runs if not is_on and days >= MIN_OFF_DAYS]
    if len(off) < MIN_CAMPAIGNS or sum(off) < MIN_OFF_SHARE * len(on):
        return False
    days_on = sum(on.values())
    if days_on < MIN_ON_DAYS * (len(off) + 1) or sum(messages.values()) < MIN_MESSAGES * days_on:
        return False
    return not _is_weekly(on)


def _is_weekly(on: dict[int, bool]) -> bool:
    weeks, active = [0] * 7, [0] * 7
    for day, is_on in on.items():
        weeks[day % 7] += 1
        active[day % 7] += is_on
    usual = [day for day in range(7) if weeks[day] and active[day] >= WEEKLY * weeks[day]]
    return sum(active[day] for day in usual) >= WEEKLY * sum(active)
