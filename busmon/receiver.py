"""What each busmon does, whether it leads or follows: it receives, judges, records, and counts."""

import threading
from collections.abc import Sequence
from functools import partial

from busmon import __version__
from busmon.config.model import Config
from busmon.ledger.ledger import Ledger
from busmon.metrics.collector import Metrics
from busmon.pipeline import Pipeline
from busmon.rules import rule_set
from busmon.rules.subjects import Subjects
from busmon.sources.base import Source
from busmon.sources.watchdog import Watchdog, thread_name
from busmon.threads import Threads


class Receiver:
    """Records what some sources receive, judged by the rules of their buses."""

    def __init__(self, config: Config, ledger: Ledger, sources: Sequence[Source]) -> None:
        self._sources = sources
        self.connections = {source.name: source.connection for source in sources}
        self.rule_sets = {
            name: rule_set(config.buses[name].rules, config.rules) for name in self.connections
        }
        self.metrics = Metrics(ledger, self.connections, __version__, config.ledger.size_limit)
        self.pipeline = Pipeline(
            ledger,
            self.rule_sets,
            {source.name: source.rejections for source in sources},
            config.limits.unknown_topics,
            self.metrics.observe,
            Subjects(config.ledger.subjects),
        )

    def add_to(self, threads: Threads) -> None:
        """Add a thread for each source, and one that watches them."""
        for source in self._sources:
            run = partial(self._receive, source)
            threads.add(thread_name(source.name), run, source.stop, may_end=source.may_end)
        threads.add("watchdog", Watchdog(self.connections).run)

    def _receive(self, source: Source, _stopping: threading.Event) -> None:
        """Receive and record until `source.stop` is called."""
        source.run(self.pipeline)
