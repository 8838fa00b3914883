"""What busmon asks the archive for, in the order in which it goes first."""

from collections.abc import Callable, Collection, Iterator, Sequence
from threading import Event

from prometheus_client.core import Metric

from busmon.archive.client import Datagrepper
from busmon.archive.fill import BlindTimeFiller, Filling
from busmon.archive.learner import Learner
from busmon.archive.reconciliation import Reconciliation
from busmon.archive.witness import Witness
from busmon.archive.worker import Job, Worker
from busmon.ledger.ledger import Ledger
from busmon.settings.archive import Archive
from busmon.silence.blind_time import BlindTime
from busmon.silence.watcher import SilenceWatcher


class ArchiveJobs:
    """The jobs of the service, and the worker that does them. The archive is an observer.

    `topics` are those that it is asked about. No `filling`: blind times stay as they are.
    """

    kind = "archive"

    def __init__(
        self,
        settings: Archive,
        ledger: Ledger,
        topics: Callable[[], Collection[str]],
        silence: SilenceWatcher,
        blind_time: BlindTime,
        filling: Filling | None,
    ) -> None:
        client, bus = Datagrepper(settings), settings.bus
        self.bus = bus
        self.learner = Learner(client, ledger, bus, topics, silence.learn_soon)
        self.witness = Witness(bus, client, ledger, topics, silence, blind_time)
        self.reconciliation = Reconciliation(bus, client, ledger, topics)
        self.filler = filling and BlindTimeFiller(client, ledger, filling)
        fillers = filter(None, [self.filler])
        jobs: list[Job] = [self.witness, *fillers, self.learner, self.reconciliation]
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

    def history(self) -> Sequence[str]:
        """Return a line for each of the last blind times."""
        return self.filler.history() if self.filler else ()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of all jobs."""
        yield from self.learner.collect()
        yield from self.reconciliation.collect()
        if self.filler:
            yield from self.filler.collect()
