"""What busmon asks the archive for, in the order in which it goes first."""

from collections.abc import Iterator, Mapping
from functools import partial
from threading import Event

from prometheus_client.core import Metric

from busmon.archive.client import Datagrepper
from busmon.archive.learner import Learner
from busmon.archive.reconciliation import Reconciliation
from busmon.archive.topics import topics_to_learn
from busmon.archive.witness import Witness
from busmon.archive.worker import Job, Worker
from busmon.ledger.ledger import Ledger
from busmon.rules import RuleSet
from busmon.settings.archive import Archive
from busmon.silence.blind_time import BlindTime
from busmon.silence.watcher import SilenceWatcher


class ArchiveJobs:
    """The jobs of the service, and the worker that does them. The archive is an observer."""

    kind = "archive"

    def __init__(
        self,
        settings: Archive,
        ledger: Ledger,
        rules: RuleSet,
        retired: Mapping[str, float],
        silence: SilenceWatcher,
        blind_time: BlindTime,
    ) -> None:
        client, bus = Datagrepper(settings), settings.bus
        self.bus = bus
        topics = partial(topics_to_learn, bus, rules, ledger, retired)
        self.learner = Learner(client, ledger, bus, topics, silence.learn_soon)
        self.witness = Witness(bus, client, ledger, topics, silence, blind_time)
        self.reconciliation = Reconciliation(bus, client, ledger, topics)
        jobs: list[Job] = [self.witness, self.learner, self.reconciliation]
        self.worker = Worker(client, ledger, jobs)

    def run(self, stopping: Event) -> None:
        """Ask the archive until `stopping`."""
        self.worker.run(stopping)

    def up(self) -> bool:
        """Return whether the archive answered the last request."""
        return self.worker.problem() is None

    def problem(self) -> str | None:
        """Return why it does not answer, or None if it does."""
        return self.worker.problem()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of all jobs."""
        yield from self.learner.collect()
        yield from self.reconciliation.collect()
