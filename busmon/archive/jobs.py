"""What busmon asks the archive for, in the order in which it goes first."""

from collections.abc import Iterator, Mapping
from functools import partial

from prometheus_client.core import Metric

from busmon.archive.client import Datagrepper
from busmon.archive.learner import Learner
from busmon.archive.topics import topics_to_learn
from busmon.archive.worker import Worker
from busmon.ledger.ledger import Ledger
from busmon.rules import RuleSet
from busmon.settings.archive import Archive
from busmon.silence.watcher import SilenceWatcher


class ArchiveJobs:
    """The jobs of the service, and the worker that does them."""

    def __init__(
        self,
        settings: Archive,
        ledger: Ledger,
        rules: RuleSet,
        retired: Mapping[str, float],
        silence: SilenceWatcher,
    ) -> None:
        client, bus = Datagrepper(settings), settings.bus
        topics = partial(topics_to_learn, bus, rules, ledger, retired)
        self.learner = Learner(client, ledger, bus, topics, silence.learn_soon)
        self.worker = Worker(bus, client, ledger, [self.learner])

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of all jobs."""
        yield from self.learner.collect()
        yield from self.worker.collect()
