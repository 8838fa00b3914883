"""Of which days the archive is asked what it has of other topics."""

from busmon.archive.holes import KnownHoles
from busmon.archive.opinion import Comparison

DAY, HOUR = 86400.0, 3600.0


def test_today_and_days_with_holes_are_asked_for_again_each_hour() -> None:
    known, asked = KnownHoles(), list[int]()
    has = {9 * 24: 50}

    def compare(until: int) -> Comparison:
        asked.append(until)
        return Comparison(0.0, has.get(until, 100), 100)

    def ask(now: float) -> list[int]:
        asked.clear()
        while known.ask(8 * DAY + 2 * HOUR, now - HOUR, now, compare):
            pass
        return asked

    now = 10 * DAY + 4 * HOUR
    assert ask(now) == [10 * 24 + 3, 10 * 24, 9 * 24]
    assert known.within(9 * DAY + 1, now) == ""
    assert "it has holes: 50 messages" in known.within(8 * DAY + 1, now)
    assert ask(now + 1) == []
    has.clear()
    assert ask(now + HOUR) == [10 * 24 + 4, 9 * 24]
    assert ask(now + 2 * HOUR) == [10 * 24 + 5]
    assert known.within(8 * DAY + 1, now) == ""
