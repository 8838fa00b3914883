"""What happened before `busmon demo` was started: four weeks, made up.

Messages are judged by the real rules, windows are closed by the real audit, and all is written by
the ledger's own calls. Four weeks is what busmon needs to know what is usual.
"""

import math
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from random import Random
from uuid import UUID

from busmon.audit.scope import Observed
from busmon.audit.windows import AuditWindows
from busmon.demo.bodies import CENTOS_SHARES, FEDORA_SHARES, Share
from busmon.demo.listener import Work
from busmon.demo.story import FAILING, Story
from busmon.ledger.batch import Observation
from busmon.ledger.coverage import observer_id
from busmon.ledger.ledger import Ledger
from busmon.message import Message
from busmon.pipeline import Pipeline
from busmon.settings.audit import Audit

HOUR, DAY = 3600, 86400
DAYS = 28
AUDITED_SECONDS = 26 * HOUR  # for so long, a tap and the workers are observed
FRESH_SECONDS = 2 * DAY
KNOWN = 40  # messages of a topic from which those before are taken, which is four times faster
SHARES = {"fedora": FEDORA_SHARES, "centos": CENTOS_SHARES}


class History:
    """Writes the story of some buses into an empty ledger; `rates` are their messages a second."""

    def __init__(
        self, ledger: Ledger, observed: Observed, rates: Mapping[str, float], story: Story
    ) -> None:
        self._ledger = ledger
        self._observed = observed
        self._rates = rates
        self._story = story
        self._known = defaultdict[tuple[str, str], list[Observation]](list)
        self._rng = Random(story.now)  # noqa: S311 - a demonstration, not a secret

    def write(self, pipeline: Pipeline, audit: Audit, stopping: threading.Event) -> None:
        """Write all of it, or what is written until `stopping`.

        Raises LedgerError and LedgerWriteError.
        """
        first = int(self._story.now // HOUR) * HOUR - DAYS * DAY
        for day in range(first, int(self._story.now), DAY):
            observations = [
                self._observation(pipeline, bus, share, at)
                for bus in self._rates
                for hour in range(day, day + DAY, HOUR)
                for share, at in self._hour(bus, hour)
            ]
            if stopping.is_set():
                return
            observations.sort(key=lambda observation: observation.received_at)
            self._ledger.record(observations)
        self.watch(self._story.now)
        self._pass_on()
        self._audit(AuditWindows(self._ledger, audit, self._observed, self._rates))
        with self._ledger.write() as tables:
            tables.incidents.save(self._story.incidents())

    def _hour(self, bus: str, hour: int) -> Iterator[tuple[Share, float]]:
        """Yield what came in an hour, in no order: more by day, fewer at weekends."""
        of_day = 1 + 0.4 * math.sin((hour / HOUR - 9) / 24 * math.tau)
        of_week = 0.7 if hour // DAY % 7 in {2, 3} else 1.0
        mean = self._rates[bus] * HOUR * of_day * of_week
        number = max(0, round(self._rng.gauss(mean, math.sqrt(mean))))
        weights = [share.weight for share in SHARES[bus]]
        for share in self._rng.choices(SHARES[bus], weights, k=number):
            at = hour + HOUR * self._rng.random()
            if at < self._story.now and self._rng.random() < self._story.pace(bus, share.topic, at):
                yield share, at

    def _observation(self, pipeline: Pipeline, bus: str, share: Share, at: float) -> Observation:
        """Return what is recorded of a message; of the last days, each is another one."""
        known = self._known[bus, share.topic]
        identity = str(UUID(bytes=self._rng.randbytes(16), version=4))
        if at < self._story.now - FRESH_SECONDS and len(known) >= KNOWN:
            return self._rng.choice(known)._replace(id=identity, received_at=at, sent_at=None)
        delay = self._rng.lognormvariate(-0.5, 0.9)
        message = Message(
            bus=bus,
            id=identity,
            topic=share.topic,
            received_at=at,
            sent_at=at - delay if bus == "fedora" else None,
            body=share.make(self._rng),
        )
        observation = pipeline.judge(message)
        if len(known) < KNOWN:
            known.append(observation._replace(keys=()))
        return observation

    def watch(self, until: float) -> None:
        """Write that busmon received, and observed listener and workers, up to a Unix time."""
        since = self._story.now - AUDITED_SECONDS
        with self._ledger.write() as tables:
            for bus in self._rates:
                blind = self._story.blind(bus)
                total = sum(span.until - span.since for span in blind)
                tables.blind_times.save(bus, until, total, blind)
                for observer in self._observed.scope(bus).observers.values():
                    tables.coverage.add_span(observer, since, until, 0.0)
            tables.coverage.add_span(observer_id("listener", "fedora"), since, until, 0.0)
            tables.windows.begin(since)

    def _pass_on(self) -> None:
        """Pass on what came while the listener did its work."""
        now, hung = self._story.now, self._story.hung
        self._work("fedora", now - AUDITED_SECONDS, hung.since)
        self._work("fedora", hung.until, now)

    def _work(self, bus: str, since: float, until: float, at: float | None = None) -> None:
        """Pass on what came in a time: at once, or `at` that time."""
        story, work = self._story, Work(self._rng)
        with self._ledger.write() as tables:
            traces = [one for one in tables.messages.traces(bus, since, until) if one.handled]
            for trace, report in zip(traces, work.reports(traces, at), strict=True):
                tables.tap_reports.add(bus, [report], report.at or story.now)
                failing = story.failing.since <= (trace.received_at or 0.0) < story.failing.until
                succeeds = trace.topic != FAILING or not failing
                work.finish(tables, report, until=story.now, succeeds=succeeds)

    def _audit(self, windows: AuditWindows) -> None:
        """Close the windows; then heal a part of the gap, and accept another one."""
        story = self._story
        while windows.close_next(story.now):
            pass
        self._work("fedora", *story.healed, story.healed_at)
        for _ in range(2):  # first at the listener, then behind it
            while windows.correct(story.healed_at):
                pass
        with self._ledger.write() as tables:
            accepted = story.accepted()
            number = tables.acceptances.windows(accepted)
            reason = "the builds were started again by hand"
            tables.acceptances.add(accepted, number, "alice", reason, story.accepted_at)
