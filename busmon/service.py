"""The service: everything built from a configuration, its threads, its end."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence

from busmon import __version__
from busmon.audit.auditor import Auditor
from busmon.config.model import Config
from busmon.diagnosis.watcher import VerdictWatcher
from busmon.ledger.ledger import Ledger, LedgerWriteError
from busmon.ledger.pruning import prune
from busmon.ledger.sqlite import LedgerError
from busmon.metrics.collector import Metrics, make_registry
from busmon.observers.base import Observer, Observers
from busmon.observers.celery import CeleryObserver
from busmon.observers.ready import ReadyObserver
from busmon.observers.tap import TapObserver
from busmon.pipeline import Pipeline
from busmon.rules import RuleSet, rule_set
from busmon.silence.blind_time import BlindTime
from busmon.silence.metrics import SilenceMetrics
from busmon.silence.watcher import SilenceWatcher
from busmon.sources.base import Source
from busmon.web.app import Endpoint, make_app, problems
from busmon.web.page import render
from busmon.web.reports import reports_endpoint
from busmon.web.server import WebServer

STOPPING = 4.0  # seconds for all sources together to finish their batches
PRUNING = 60.0  # seconds between looks at what is to be forgotten
YIELD_SECONDS = 0.02  # seconds between two steps of forgetting, for counting to go on

log = logging.getLogger(__name__)


def open_service(config: Config) -> "Service":
    """Return the service that a configuration describes; raises LedgerError and OSError."""
    ledger = Ledger(config.ledger.path)
    if config.ledger.path == ":memory:":
        log.warning(
            "the ledger is in memory: a restart sets all counters to zero, and counts again"
            " what was counted but not yet acknowledged"
        )
    try:
        sources = [bus.make_source(name, ledger) for name, bus in config.buses.items()]
        observers = make_observers(config, ledger)
        inbox = TapObserver(ledger, config.audit.reports.bus) if config.audit.reports else None
        books = {name: rule_set(bus.rules, config.rules) for name, bus in config.buses.items()}
        return Service(config, ledger, books, sources, observers, inbox)
    except LedgerWriteError as error:  # the name of a queue, say
        raise LedgerError(f"{config.ledger.path}: can't be written: {error}") from error


def _own_endpoints(config: Config, inbox: TapObserver | None) -> dict[str, Endpoint]:
    """Return the endpoints that see to method and credentials themselves."""
    if not inbox or not config.audit.reports:
        return {}
    token = config.audit.reports.token.get_secret_value()
    return {"/v1/reports": reports_endpoint(inbox, token)}


class SourceDied(Exception):
    """A source raised what no broker can cause, so that its bus is watched no longer."""


def make_observers(config: Config, ledger: Ledger) -> list[Observer]:
    """Return the observers that `[audit]` asks for."""
    observers: list[Observer] = []
    if config.audit.ready:
        observers.append(ReadyObserver(config.audit.ready, ledger))
    if config.audit.celery:
        observers.append(CeleryObserver(config.audit.celery, ledger))
    return observers


class Service:
    """Counts what `sources` receive, by the rule book of each bus, and serves the counters.

    Listens from the start; raises OSError where it can't.
    """

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        books: Mapping[str, RuleSet],
        sources: Sequence[Source],
        observers: Sequence[Observer] = (),
        inbox: TapObserver | None = None,
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._sources = sources
        names = [source.name for source in sources]
        retention = config.ledger.retention
        self._auditor = Auditor(config.audit, ledger, retention, names, config.comparable_bus())
        watching = [*observers, *([inbox] if inbox else [])]
        self._observers = Observers(watching)
        connections = {source.name: source.connection for source in sources}
        self._blind = BlindTime(ledger, connections, time.time())
        self._silence = SilenceWatcher(config.silence, ledger, books, self._blind)
        metrics = Metrics(ledger, connections, __version__, config.ledger.size_limit)
        self._monitor = Pipeline(
            ledger,
            books,
            {source.name: source.rejections for source in sources},
            config.limits.unknown_topics,
            metrics.observe,
        )

        def wrong() -> list[str]:
            return problems(connections, ledger)

        def page() -> str:
            found = self._fault.verdict()
            return render(connections, ledger.counts(), wrong(), __version__, time.time(), found)

        silence = SilenceMetrics(self._silence, self._blind)
        self._fault = VerdictWatcher(
            config.audit, ledger, connections, self._blind, self._silence, watching, self._auditor
        )
        registry = make_registry(metrics, silence, self._observers, self._auditor, self._fault)
        own = _own_endpoints(config, inbox)
        app = make_app(
            config.web, registry, wrong, page, own, lambda: self._fault.verdict()._asdict()
        )
        self._web = WebServer(config.web, app)
        self.url = self._web.url
        self._died = ""

    def run(self, stopping: threading.Event) -> None:
        """Receive, count and serve until `stopping`, then finish the batches in hand.

        Raises SourceDied where a source came to an end that it should not have.
        """
        self._web.start()
        log.info("listening on %s", self.url)
        threads = [self._thread(source, stopping) for source in self._sources]
        threads += self._observers.threads()
        threads.append(threading.Thread(target=self._auditor.run, name="audit", daemon=True))
        for watch in (self._blind.run, self._silence.run, self._fault.run):
            threads.append(threading.Thread(target=watch, args=(stopping,), daemon=True))
        threads.append(threading.Thread(target=self._prune, args=(stopping,), daemon=True))
        for thread in threads:
            thread.start()
        stopping.wait()
        log.info("stopping")
        for source in self._sources:
            source.stop()
        self._observers.stop()
        self._auditor.stop()
        deadline = time.monotonic() + STOPPING
        for thread in threads:
            thread.join(max(0, deadline - time.monotonic()))
        self._web.stop()
        self._ledger.close()
        if self._died:
            raise SourceDied(f"{self._died} ended by a bug; the log says more")

    def _thread(self, source: Source, stopping: threading.Event) -> threading.Thread:
        def run() -> None:
            try:
                source.run(self._monitor)
            except Exception:
                # A bus that nobody watches is worse than a restart.
                log.exception("%s: unexpected error", source.name)
                self._died = source.name
                stopping.set()

        return threading.Thread(target=run, name=source.name, daemon=True)

    def _prune(self, stopping: threading.Event) -> None:
        while not stopping.wait(PRUNING):
            try:
                while self._forget():
                    if stopping.wait(YIELD_SECONDS):
                        return
            except LedgerWriteError as error:
                log.warning("ledger: can't forget old messages: %s", error)

    def _forget(self) -> bool:
        limits = self._config.ledger.retention, self._config.ledger.size_limit
        more = self._ledger.prune(time.time(), *limits)
        return prune(self._ledger, time.time(), *limits) or more
