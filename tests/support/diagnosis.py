"""The parts of a service that a verdict is made of, at a time that the test sets."""

from collections.abc import Iterator
from contextlib import contextmanager

from busmon.archive.client import Datagrepper
from busmon.archive.reconciliation import Reconciliation
from busmon.archive.witness import Witness
from busmon.audit.auditor import Auditor
from busmon.diagnosis.bus import Parts
from busmon.diagnosis.facts import BusFacts, Facts
from busmon.diagnosis.verdict import Verdict, diagnose
from busmon.diagnosis.watcher import VerdictWatcher
from busmon.ledger.batch import Observation, Series
from busmon.ledger.engines import LedgerPlace
from busmon.ledger.ledger import Ledger
from busmon.message import Judgement
from busmon.observers.base import Observer
from busmon.observers.queue import Ask, QueueObserver
from busmon.observers.table import ObservedAudit
from busmon.rules import HANDLED, Rules, rule_set
from busmon.settings.silence import Silence
from busmon.silence.blind_time import BlindTime
from busmon.silence.rates import WEEK_HOURS
from busmon.silence.watcher import SilenceWatcher
from busmon.sources.base import ConnectionState
from busmon.sources.listener_queue import ListenerQueue
from busmon.threads import Threads
from tests.ledger.past import past
from tests.support.datagrepper import settings
from tests.support.ledgers import NOW
from tests.support.threads import running


def verdict_on(facts: BusFacts) -> Verdict:
    """Return the verdict on the one bus there is."""
    [verdict] = diagnose(Facts(buses=(facts,))).values()
    return verdict


class Bench:
    """One bus `fedora` whose connection is up, at a time that the test sets."""

    def __init__(
        self,
        audit: ObservedAudit = ObservedAudit(),  # noqa: B008 - frozen
        now: float = NOW,
        path: LedgerPlace = ":memory:",
        ask: Ask | None = None,
        archive: str | None = None,
        expected: dict[str, int] | None = None,
    ) -> None:
        """Prepare all parts.

        `ask` says how the listener's queues are, `archive` is its URL, and `expected` are topics
        that have to come, within so many seconds.
        """
        self.now = now
        self.ledger = Ledger(path)
        self.connection = ConnectionState()
        self.connection.up()
        connections = {"fedora": self.connection}
        self.blind = BlindTime(self.ledger, connections, now)
        self.blind.tick(now)
        rule_sets = {"fedora": rule_set("all", Rules())}
        silence, all_of_it = Silence(expected_topics=expected), {"fedora": lambda _: True}
        self.silence = SilenceWatcher(silence, self.ledger, rule_sets, self.blind, all_of_it)
        self.auditor = Auditor(audit, audit.observed({}), self.ledger, WEEK_HOURS, ["fedora"])
        self.observers: list[Observer] = [
            settings.make_observer(self.ledger) for settings in audit.observers().values()
        ]
        if ask:
            self.observers.append(QueueObserver("fedora", ask, self.ledger, 0.02, lambda: self.now))
        observers, auditor = self.observers, self.auditor
        queues = {"fedora": ListenerQueue.TEMPORARY}
        client = Datagrepper(settings(archive)) if archive else None
        self.witness = self._witness(client) if client else None
        self.parts = Parts(
            self.ledger,
            connections,
            self.blind,
            self.silence,
            observers,
            auditor,
            queues,
            self.witness,
            Reconciliation("fedora", client, self.ledger, list) if client else None,
        )
        self.watch = VerdictWatcher(audit, self.parts, Threads(), lambda: self.now)

    def _witness(self, client: Datagrepper) -> Witness:
        def topics() -> list[str]:
            return [topic.name for topic in self.silence.states(self.now)]

        return Witness("fedora", client, self.ledger, topics, self.silence, self.blind)

    def refresh(self, after: float = 0.0) -> Verdict:
        self.now += after
        self.blind.tick(self.now)
        self.watch.refresh()
        return self.verdict()

    def verdict(self) -> Verdict:
        """Return the verdict on the bus."""
        return self.watch.verdicts()["fedora"]

    def wait(self, seconds: float) -> Verdict:
        """Look every ten seconds meanwhile: a longer pause would be a blind time."""
        for _ in range(int(seconds // 10)):
            self.refresh(10)
        return self.refresh(seconds % 10)

    def receive(self, identity: object, topic: str = "a", verdict: Judgement = HANDLED) -> None:
        series = Series("fedora", topic, verdict.outcome, verdict.reason)
        self.ledger.record([Observation(series, str(identity), self.now)])

    def past(self, topic: str, last: float) -> None:
        """Let two messages an hour have come for months, the newest so many seconds ago."""
        hour = int((self.now - last) // 3600)
        hours = dict.fromkeys(range(hour - 12 * WEEK_HOURS, hour + 1), 2)
        past(self.ledger, Series("fedora", topic, "handled", ""), hours, self.now - last)

    @contextmanager
    def observing(self) -> Iterator[None]:
        """Let the observers and the audit work meanwhile."""
        with running(self.auditor.run, *(observer.run for observer in self.observers)):
            yield
        self.ledger.close()
