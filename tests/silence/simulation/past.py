"""Years of made-up traffic: how soon BusmonHandledShareLow and BusmonTopicLow see a fault, how
often they fire without one.

    python -m tests.silence.simulation.past

The conditions are those of config/prometheus/past.py, on arrays: promtool would need hours.
tests/deploy/test_made_up_weeks.py has some weeks of them through promtool.
"""

from collections.abc import Callable

import numpy as np

from tests.silence.simulation.traffic import DAY, DAYS, TOPICS, Topic, arrivals

STEP = 30  # minutes
A_DAY, A_WEEK = DAY // STEP, 7 * DAY // STEP  # steps
YEARS = 4
STARTS = [(day, hour) for day in range(40, 340, 13) for hour in (3, 10, 17)]
PAUSE = 9 * DAY // STEP  # what a fault is compared with

# handled messages, all messages (by step), all messages of the bus → where the alert fires
Fires = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def habits(
    a_day: float, clump: float, weekends: float, holidays: float, *, rebuilt: bool = False
) -> Topic:
    return Topic("", a_day, clump, 10, 0.45, weekends, holidays, 1.2, 0, rebuilt)


# Of each topic, the messages that the listener should handle, and all others.
SHARES = {
    "copr": (habits(8800, 12, 0.4, 0.3), habits(13200, 12, 0.7, 0.6)),
    "koji builds": (habits(9000, 4, 0.4, 0.3), habits(6000, 15, 0.5, 0.4, rebuilt=True)),
    "koji tasks": (habits(1000, 8, 0.4, 0.3), habits(50000, 15, 0.5, 0.4, rebuilt=True)),
    "git": (habits(700, 4, 0.35, 0.3), habits(500, 4, 0.35, 0.3)),
    "pull requests": (habits(100, 3, 0.3, 0.25), habits(100, 2, 0.3, 0.25)),
    "anitya": (habits(4, 2, 0.6, 0.5), habits(11, 3, 0.6, 0.5)),
}


def before(values: np.ndarray, steps: int) -> np.ndarray:
    return np.concatenate([np.full(steps, np.nan), values[:-steps]])


def sums(values: np.ndarray, steps: int) -> np.ndarray:
    total = np.concatenate([[0.0], np.cumsum(values)])
    return np.concatenate([np.full(steps - 1, np.nan), total[steps:] - total[:-steps]])


def lasting(condition: np.ndarray, steps: int) -> np.ndarray:
    all_of_them: np.ndarray = sums(condition.astype(float), steps) == steps
    return all_of_them


def share_low(handled: np.ndarray, messages: np.ndarray, _bus: np.ndarray) -> np.ndarray:
    passed, came = (sums(np.nan_to_num(sums(of, 12)), A_DAY) / A_DAY for of in (handled, messages))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = passed / came
        usual = np.median([before(share, A_DAY + 12 * n) for n in range(24)], axis=0)
        week = before(share, A_WEEK)
        low = (share < 0.4 * week) & (share < 0.4 * usual) & ((week >= 0.1) | (share == 0))
        fewer = (passed < 0.5 * before(passed, A_WEEK)) & (before(passed, A_WEEK) >= 10)
        return lasting(low & fewer & (came >= 0.75 * before(came, A_WEEK)), 12)


def volume_low(_handled: np.ndarray, messages: np.ndarray, bus: np.ndarray) -> np.ndarray:
    came, others = sums(messages, 12), sums(bus - messages, 12)
    with np.errstate(invalid="ignore"):
        low = others >= 0.5 * before(others, A_WEEK)
        for past in (before(came, A_DAY), before(came, A_WEEK)):
            low &= (past >= 500) & (came < 0.3 * past)
    return lasting(low, 2)


def by_step(topic: Topic, rng: np.random.Generator) -> np.ndarray:
    messages: np.ndarray = arrivals(topic, rng).reshape(-1, STEP).sum(axis=1)
    return messages


def episodes(fires: np.ndarray) -> int:
    return int(np.sum(fires[1:] & ~fires[:-1]))


def hours_until_seen(fires: Fires, rng: np.random.Generator, *of: np.ndarray) -> list[float]:
    """Return the hours until an alert, for faults that begin at `STARTS`; else infinity.

    Of the handled messages 30 % are still handled; or a fifth of all messages comes.
    """
    found = []
    for day, hour in STARTS:
        start = (day * 24 + hour) * 60 // STEP
        handled, messages, bus = (values[start - PAUSE : start + 4 * A_DAY].copy() for values in of)
        whole = messages.copy()
        if fires is share_low:
            handled[PAUSE:] = rng.binomial(handled[PAUSE:], 0.3)
        else:
            messages[PAUSE:] = rng.binomial(messages[PAUSE:], 0.2)
        seen = np.flatnonzero(fires(handled, messages, bus - whole + messages)[PAUSE:])
        found.append((seen[0] + 1) * STEP / 60 if len(seen) else np.inf)
    return found


def report(title: str, fires: Fires, topics: dict[str, list[tuple[np.ndarray, ...]]]) -> None:
    print(f"\n{title}\n\n| topic | false a year | seen within 2 days | median, hours |")
    print("|---|---:|---:|---:|")
    rng = np.random.default_rng(1)
    for name, years in topics.items():
        false = sum(episodes(fires(*year)) for year in years) / len(years)
        hours = [hour for year in years for hour in hours_until_seen(fires, rng, *year)]
        seen, median = np.mean(np.array(hours) <= 48), np.median(hours)
        print(f"| {name} | {false:.1f} | {seen:.0%} | {median:.0f} |")


def main() -> None:
    rng = np.random.default_rng(2)
    none = np.zeros(DAYS * A_DAY)
    shares: dict[str, list[tuple[np.ndarray, ...]]] = {}
    for name, kinds in SHARES.items():
        for _ in range(YEARS):
            handled, others = (by_step(kind, rng) for kind in kinds)
            shares.setdefault(name, []).append((handled, handled + others, none))
    report("Of the handled messages, 30 % are still handled", share_low, shares)
    volumes: dict[str, list[tuple[np.ndarray, ...]]] = {}
    for _ in range(YEARS):
        year = {topic.name: by_step(topic, rng) for topic in TOPICS}
        bus = np.sum(list(year.values()), axis=0)
        for name, messages in year.items():
            if messages.mean() * A_DAY > 1000:
                volumes.setdefault(name, []).append((none, messages, bus))
    report("A fifth of the messages comes", volume_low, volumes)


if __name__ == "__main__":
    main()
