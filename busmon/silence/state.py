"""Whether a topic is silent for too long: pure functions of its baseline and its last message."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeVar

from busmon.silence.baseline import Baseline
from busmon.silence.rates import DAY_SECONDS

Value = TypeVar("Value")

# The critical thresholds of Fedora's Nagios, in seconds. They hold beside the baseline, for topics
# without a configured limit. Nagios knows neither OpenScanHub nor Log Detective. Forgejo's are
# those of dist-git on Pagure, from which dist-git moves to it.
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
class SilenceState:
    """What is known of the silence of a topic now."""

    silent: bool  # for too long
    expected: float | None = None  # messages since the last one; None without it or a baseline
    limit: float | None = None  # messages; None without a baseline
    retired: bool | None = None  # None: it has no date from which on it is

    @property
    def ready(self) -> bool:
        """Whether there is a baseline."""
        return self.limit is not None


def silence_state(
    baseline: Baseline | None,
    last: float | None,
    now: float,
    blind_times: Sequence[tuple[float, float]],
    configured: float | None = None,
    usual: float | None = None,
) -> SilenceState:
    """Return the state of a topic. Its last message came at `last`; None: there is none yet.

    `configured` is a longest silence in seconds, used instead of the baseline. `usual` is one
    that holds beside the baseline. Blind times are no silence.
    """
    expected = baseline.expected(last, now, blind_times) if baseline and last is not None else None
    limit = baseline.limit if baseline else None
    quiet = 0.0 if last is None else now - last - _overlap(blind_times, last, now)
    if configured is not None:
        silent = quiet > configured
    elif expected is None or limit is None:
        silent = False
    else:
        silent = expected > limit or (usual is not None and quiet > usual)
    return SilenceState(silent, expected, limit)


def setting_of(topic: str, settings: Mapping[str, Value]) -> Value | None:
    """Return what is set for a topic: for its own name, else for the first pattern that matches."""
    if topic in settings:
        return settings[topic]
    return next((value for p, value in settings.items() if fnmatchcase(topic, p)), None)


def _overlap(spans: Iterable[tuple[float, float]], since: float, until: float) -> float:
    return sum(max(0.0, min(end, until) - max(start, since)) for start, end in spans)
