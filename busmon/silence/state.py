"""Whether a topic is silent for too long: pure functions of its baseline and its last message."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TypeVar

from busmon.silence.baseline import Baseline
from busmon.silence.rates import DAY_SECONDS

SINCE_SECONDS = 10.0  # how exactly it is known when a topic became silent
PAGE = 1.4  # times what is learned is hardly chance any more: the rules page
MIN_TOGETHER, TOGETHER_SECONDS = 3, 6 * 3600.0  # so many topics of a bus have one cause

Value = TypeVar("Value")

# The critical thresholds of Fedora's Nagios, in seconds. For topics without a configured limit they
# hold from the first message on, beside the baseline. Nagios knows neither OpenScanHub nor Log
# Detective. Forgejo's are those of dist-git on Pagure, from which dist-git moves to it.
USUAL_MAX_SILENCE = {
    "org.fedoraproject.prod.copr.*": DAY_SECONDS,
    "org.fedoraproject.prod.buildsys.*": DAY_SECONDS,
    "org.fedoraproject.prod.pagure.*": 7 * DAY_SECONDS,
    "org.fedoraproject.prod.forgejo.*": 7 * DAY_SECONDS,
    "org.fedoraproject.prod.hotness.*": 21 * DAY_SECONDS,
    "org.release-monitoring.prod.anitya.*": 21 * DAY_SECONDS,
    "org.fedoraproject.prod.openscanhub.*": 7 * DAY_SECONDS,
    "org.fedoraproject.prod.logdetective.*": 7 * DAY_SECONDS,
}


@dataclass(frozen=True, slots=True)
class Volume:
    """Whether less comes than is usual, in messages."""

    deficit: float
    limit: float

    @property
    def low(self) -> bool:
        """Whether the volume is too low."""
        return self.deficit > self.limit


@dataclass(frozen=True, slots=True)
class SilenceState:
    """What is known of the silence of a topic now."""

    silent: bool  # for too long
    expected: float | None = None  # messages since the last one; None without it or a baseline
    limit: float | None = None  # messages; None without a baseline
    retired: bool | None = None  # None: it has no date from which on it is
    longest: float | None = None  # seconds of silence; None without a fixed time
    ratio: float | None = None  # of the silence to its limit, above 1 if silent; None: no limit
    gone: bool = False  # silent for months
    campaigns: bool = False  # it comes in campaigns, so that no limit can be learned
    since: float | None = None  # Unix time at which it became silent
    last: float | None = None  # Unix time of the last message
    awaited: float | None = None  # Unix time since when it has to come; None: it came, or need not
    together: bool = False  # it became silent about when others of its bus did
    volume: Volume | None = None  # None without a baseline
    begun: float | None = None  # Unix time of the first message, if there is too little history

    @property
    def ready(self) -> bool:
        """Whether there is a baseline."""
        return self.limit is not None

    @property
    def quiet_since(self) -> float | None:
        """The Unix time of the last message, or else since when it has to come."""
        return self.awaited if self.last is None else self.last

    @property
    def low(self) -> bool:
        """Whether messages come, but too few."""
        return not self.silent and self.volume is not None and self.volume.low


def silence_state(
    baseline: Baseline | None,
    quiet_since: float | None,
    now: float,
    blind_times: Sequence[tuple[float, float]],
    configured: float | None = None,
    usual: float | None = None,
) -> SilenceState:
    """Return the state of a topic.

    `quiet_since` is when its last message came, or, if none ever came, since when it has to come;
    None if it does not have to.

    `configured` is a longest silence in seconds, used instead of the baseline. `usual` is one
    that holds beside the baseline, and without it. Nothing beyond them is chance, so it pages at
    once. Blind times are no silence.
    """
    campaigns = baseline is not None and baseline.campaigns
    learned = None if campaigns else baseline
    limit = learned.limit if learned else None
    if quiet_since is None:
        return SilenceState(False, limit=limit, campaigns=campaigns)
    expected = learned.expected(quiet_since, now, blind_times) if learned else None
    quiet = max(0.0, now - quiet_since - _overlap(blind_times, quiet_since, now))
    fixed = usual if configured is None else configured
    ratios = [] if fixed is None else [quiet / fixed * (PAGE if quiet > fixed else 1.0)]
    if configured is None and expected is not None and limit is not None:
        ratios.append(expected / limit)
    ratio = max(ratios, default=None)
    silent = ratio is not None and ratio > 1
    campaigns = campaigns and configured is None
    return SilenceState(silent, expected, limit, longest=fixed, ratio=ratio, campaigns=campaigns)


def silent_since(silent: Callable[[float], bool], quiet_since: float, now: float) -> float:
    """Return when a topic that is silent `now`, and was quiet since then, became so."""
    low, high = quiet_since, now
    while high - low > SINCE_SECONDS:
        middle = (low + high) / 2
        low, high = (low, middle) if silent(middle) else (middle, high)
    return high


def together(since: Mapping[str, float]) -> set[str]:
    """Return the topics that became silent at these times, with enough others."""
    found = set[str]()
    ordered = sorted(since, key=lambda topic: since[topic])
    for first, topic in enumerate(ordered):
        group = [one for one in ordered[first:] if since[one] <= since[topic] + TOGETHER_SECONDS]
        if len(group) >= MIN_TOGETHER:
            found.update(group)
    return found


def setting_of(topic: str, settings: Mapping[str, Value]) -> Value | None:
    """Return what is set for a topic: for its own name, else for the first pattern that matches."""
    if topic in settings:
        return settings[topic]
    return next((value for p, value in settings.items() if fnmatchcase(topic, p)), None)


@lru_cache(4096)  # each scrape asks for each topic
def usual_max_silence(topic: str) -> float | None:
    """Return after how many seconds Fedora's Nagios warns of a topic; None: never."""
    return setting_of(topic, USUAL_MAX_SILENCE)


def setting_reached(dates: Mapping[str, float], topic: str, now: float) -> bool | None:
    """Return whether the date that is set for a topic is reached; None if there is none."""
    since = setting_of(topic, dates)
    return None if since is None else now >= since


def _overlap(spans: Iterable[tuple[float, float]], since: float, until: float) -> float:
    return sum(max(0.0, min(end, until) - max(start, since)) for start, end in spans)
