"""What went wrong before `busmon demo` was started, and still does: made up, at fixed ages."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from busmon.demo.listener import handler_of
from busmon.diagnosis import evidence, topic_evidence
from busmon.diagnosis.facts import (
    BusFacts,
    FailingTask,
    Health,
    ListenerFacts,
    SilentTopic,
    StageCounts,
    TopicFacts,
    WorkerFacts,
)
from busmon.diagnosis.verdict import FaultKind
from busmon.ledger.acceptances import Selection
from busmon.ledger.incidents import Incident
from busmon.ledger.values import Interval
from busmon.message import Stage
from busmon.rules.packit import FEDORA
from busmon.sources.base import Cause

MINUTE, HOUR, DAY = 60, 3600, 86400
SILENT = FEDORA + "pagure.git.receive"
LOW = FEDORA + "buildsys.task.state.change"
FAILING = FEDORA + "copr.build.end"
# What still comes of these topics, of what is usual.
PACE: Mapping[str, float] = MappingProxyType({SILENT: 0.0, LOW: 0.05})
SILENT_SECONDS = 3.0 * HOUR  # until that is too long
# What was found then. So the demo says it as busmon does.
DISCONNECTED = BusFacts(name="", problem=f"{Cause.NETWORK}: the broker closed the connection")
HANGING = ListenerFacts(tap=Health(True), passed=StageCounts(expected=9, missing=9))
FAILED = WorkerFacts(failing=(FailingTask(handler_of(FAILING), failed=9, succeeded=2),))
QUIET = TopicFacts(
    last=2.0,
    silent=(SilentTopic(SILENT, SILENT_SECONDS, expected=20.0, limit=14.0),),
    flowing=27,
)


class Story:
    """What went wrong on the buses fedora and centos until `now`, a Unix time."""

    def __init__(self, now: float) -> None:
        self.now = now
        night = self._ago(14 * HOUR)
        self.hung = Interval(night, night + HOUR)  # the listener
        self.healed = Interval(night + 20 * MINUTE, night + 45 * MINUTE)  # what came then
        self.healed_at = night + 8 * HOUR
        self.accepted_at = self.healed_at + 10 * MINUTE
        fails = self._ago(5 * HOUR)
        self.failing = Interval(fails, fails + 2 * HOUR)  # a handler
        self._slow_since = {SILENT: self._ago(8 * HOUR), LOW: self._ago(60 * HOUR)}
        self._blind = {
            "fedora": [self._span(9 * DAY, 50 * MINUTE), self._span(20 * HOUR, 15 * MINUTE)],
            "centos": [self._span(6 * DAY, 2 * HOUR)],
        }

    def pace(self, bus: str, topic: str, at: float) -> float:
        """Return how much of what is usual of a topic busmon received then: from 0 to 1."""
        if any(blind.since <= at < blind.until for blind in self._blind[bus]):
            return 0.0
        return PACE[topic] if at >= self._slow_since.get(topic, self.now) else 1.0

    def blind(self, bus: str) -> list[Interval]:
        """Return when busmon did not receive from a bus."""
        return self._blind[bus]

    def accepted(self) -> Selection:
        """Return which gaps a person has accepted: those of the first minutes of the hang."""
        return Selection(self.hung.since, self.healed.since, "fedora", stage=Stage.LISTENER)

    def incidents(self) -> Iterable[Incident]:
        """Yield the incidents; the last one still lasts."""
        for bus, spans in self._blind.items():
            for span in spans:
                yield _incident(bus, FaultKind.CONNECTION, span, evidence.connection(DISCONNECTED))
        hung, failing = evidence.listener(HANGING, ()), evidence.workers(FAILED)
        yield _incident("fedora", FaultKind.LISTENER, self.hung, hung)
        yield _incident("fedora", FaultKind.WORKERS, self.failing, failing)
        since = self._slow_since[SILENT] + SILENT_SECONDS
        lines = tuple(topic_evidence.silence(QUIET))
        lasts = Incident("fedora", FaultKind.PUBLISHER, since, self.now)
        yield lasts._replace(first_evidence=lines, last_evidence=lines)

    def _ago(self, seconds: float) -> float:
        """Return a time so long ago, at which a window begins."""
        return float((self.now - seconds) // 300 * 300)

    def _span(self, ago: float, length: float) -> Interval:
        return Interval(self._ago(ago), self._ago(ago) + length)


def _incident(bus: str, kind: FaultKind, span: Interval, texts: Iterable[str]) -> Incident:
    lines = tuple(texts)
    return Incident(bus, kind, *span, span.until, first_evidence=lines, last_evidence=lines)
