"""The service: builds every part from a configuration, runs their threads, ends them."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from wsgiref.types import WSGIApplication

from busmon.archive.bound import BoundTopics
from busmon.archive.fill import Filling
from busmon.archive.jobs import ArchiveJobs
from busmon.archive.topics import topics_to_learn
from busmon.audit.acceptor import Acceptor
from busmon.audit.auditor import Auditor
from busmon.config.model import Config
from busmon.diagnosis.bus import Parts
from busmon.diagnosis.watcher import VerdictWatcher
from busmon.ledger.coverage import observer_id
from busmon.ledger.errors import LedgerUnreachable, LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.levels.delays import DelayCounter
from busmon.levels.service_levels import ServiceLevelCounter
from busmon.levels.watcher import LevelsWatcher
from busmon.metrics.collector import make_registry
from busmon.observers.base import Observer, ObserverMetrics
from busmon.observers.table import ObservedAudit
from busmon.observers.tap import TapObserver
from busmon.pipeline import Pipeline
from busmon.pruning import prune_regularly
from busmon.receiver import Receiver
from busmon.replicas import Replica, leading
from busmon.rules import SCHEMA_PACKAGES, RuleSet
from busmon.silence.blind_time import BlindTime
from busmon.silence.metrics import SilenceMetrics
from busmon.silence.watcher import SilenceWatcher
from busmon.sources import schema_packages
from busmon.sources.base import Source
from busmon.sources.bus import subscriptions
from busmon.sources.listener_queue import ListenerQueue
from busmon.threads import ThreadDied, Threads
from busmon.web.access import Access
from busmon.web.app import make_app
from busmon.web.forget import forget_view
from busmon.web.gaps import gaps_views
from busmon.web.health import problems, ready_view
from busmon.web.http import View
from busmon.web.info import WebInfo
from busmon.web.pages.page import Shown
from busmon.web.pages.view import pages_view
from busmon.web.reports import reports_view
from busmon.web.server import WebServer

STOP_TIMEOUT = 3.5  # seconds to finish the batches; with it the process ends within 5 s
END_INTERVAL = 0.2  # seconds between two looks whether it is at its end

log = logging.getLogger(__name__)


def open_service(config: Config, ledger: Ledger, web: WebServer) -> "Service":
    """Return the service that a configuration describes; raises LedgerError."""
    if ledger.name == ":memory:":
        log.warning(
            "the ledger is in memory: a restart sets all counters to zero, and counts again"
            " what was counted but not yet acknowledged"
        )
    for name, bus in config.buses.items():
        if absent := schema_packages.missing(SCHEMA_PACKAGES.get(bus.rules, ())):
            log.warning(
                "%s: not installed, but the listener has it: %s. A message that breaks a schema"
                " of it is not found invalid here",
                name,
                ", ".join(absent),
            )
    try:
        sources = [bus.make_source(name, ledger) for name, bus in config.buses.items()]
        observers = config.audit.make_observers(config.buses, ledger)
        return build_service(config, ledger, web, sources, observers)
    except LedgerWriteError as error:  # for example of the name of a queue
        raise LedgerUnreachable(f"{ledger.name}: cannot be written: {error}") from error


def build_service(
    config: Config,
    ledger: Ledger,
    web: WebServer,
    sources: Sequence[Source],
    observers: Sequence[Observer] = (),
) -> "Service":
    """Connect the parts, each to those that it reads."""
    threads = Threads()
    replica = leading(ledger, threads)
    receiver = Receiver(config, ledger, sources)
    connections, metrics, pipeline = receiver.connections, receiver.metrics, receiver.pipeline
    rule_sets = receiver.rule_sets
    blind_time = BlindTime(ledger, connections, time.time())
    silence = SilenceWatcher(
        config.silence, ledger, rule_sets, blind_time, subscriptions(config.buses)
    )
    retention, observed = config.ledger.retention, config.audit.observed(config.buses)
    scopes = {bus: observed.scope(bus) for bus in connections}
    levels = LevelsWatcher(
        ledger,
        DelayCounter(scopes, metrics.delays, time.time()),
        ServiceLevelCounter(ledger, config.slo, scopes, config.audit.grace, retention),
    )
    auditor = Auditor(config.audit, observed, ledger, retention, list(connections))
    queues = dict.fromkeys(connections, ListenerQueue.UNKNOWN)
    queues |= {name: bus.listener_queue() for name, bus in config.buses.items()}
    filling = _filling(config, pipeline, auditor)
    archive = _archive(config, ledger, rule_sets, silence, blind_time, filling)
    asked = (archive.witness, archive.reconciliation) if archive else ()
    parts = Parts(ledger, connections, blind_time, silence, observers, auditor, queues, *asked)
    acceptor = Acceptor(ledger, auditor.refresh)
    verdicts = VerdictWatcher(config.audit, parts, threads)

    def not_ready() -> list[str]:
        return problems(connections, ledger, threads)

    registry = make_registry(
        metrics,
        SilenceMetrics(silence, blind_time),
        ObserverMetrics([*observers, *filter(None, [archive])]),
        auditor,
        levels,
        verdicts,
        web.closed,
        WebInfo(config.web),
        *filter(None, [replica]),
    )
    access = Access(config.web)
    own = _own_views(config.audit, observers) | gaps_views(acceptor, access)
    own["/v1/forget"] = forget_view(ledger, access)

    def history() -> list[str]:
        return [*blind_time.history(), *(archive.history() if archive else ())]

    ready = ready_view(not_ready, history, warning=ledger.warning)
    pages = pages_view(Shown(config, parts, verdicts, acceptor, not_ready))
    app = make_app(config.web, registry, ready, pages, own.get, verdicts.status)

    receiver.add_to(threads)
    for observer in observers:
        threads.add(observer_id(observer.kind, observer.bus), observer.run)
    threads.add("blind-time", blind_time.run)
    threads.add("silence", silence.run)
    threads.add("audit", auditor.run)
    threads.add("levels", levels.run)
    threads.add("acceptances", acceptor.run, acceptor.wake)
    threads.add("verdict", verdicts.run)
    threads.add("incidents", verdicts.incidents.run)
    if archive:
        threads.add("archive", archive.run, archive.worker.wake)
    threads.add("pruning", partial(prune_regularly, ledger, pipeline, retention, silence.watched))
    return Service(ledger, threads, web, app, replica)


def _archive(
    config: Config,
    ledger: Ledger,
    rule_sets: Mapping[str, RuleSet],
    silence: SilenceWatcher,
    blind_time: BlindTime,
    filling: Filling | None,
) -> ArchiveJobs | None:
    if (settings := config.archive) is None:
        return None
    rules, retired = rule_sets[settings.bus], config.silence.retired
    topics = partial(topics_to_learn, settings.bus, rules, ledger, retired)
    return ArchiveJobs(settings, ledger, topics, silence, blind_time, filling)


def _filling(config: Config, pipeline: Pipeline, auditor: Auditor) -> Filling | None:
    """Return what is needed to fill blind times; None if no archive has the ids of the bus."""
    bus = config.archive and config.archive.bus
    if not bus or (keys := config.buses[bus].routing_keys_bound()) is None:
        return None
    scope, retention = config.audit.observed(config.buses).scope(bus), config.ledger.retention
    bound, refresh = BoundTopics(keys), auditor.refresh
    return Filling(bus, bound, pipeline, scope, config.audit, retention, refresh)


def _own_views(settings: ObservedAudit, observers: Sequence[Observer]) -> dict[str, View]:
    """Return the views that check method and credentials themselves."""
    if settings.reports is None:
        return {}
    token = settings.reports.token.get_secret_value()
    taps = [observer for observer in observers if isinstance(observer, TapObserver)]
    return {"/v1/reports": reports_view(taps[0], token)}


class Service:
    """Counts what the sources receive, and serves the counters."""

    def __init__(
        self,
        ledger: Ledger,
        threads: Threads,
        web: WebServer,
        app: WSGIApplication,
        replica: Replica | None = None,
    ) -> None:
        """Put it together; it runs as long as this busmon is that `replica`, if it is one."""
        self._ended = replica.ended if replica else None
        if replica:
            replica.url = web.url
        self._ledger, self._threads = ledger, threads
        self._web, self._app = web, app
        self.url = web.url

    def run(self, stopping: threading.Event) -> None:
        """Receive, count and serve until `stopping` or the end, then finish the batches in hand.

        Raises ThreadDied, after the same orderly end, if a thread ended before it was asked to.
        """
        with self._web.serving(self._app, stopping):
            self._threads.start(stopping)
            while not stopping.wait(END_INTERVAL if self._ended else None):
                if self._ended and self._ended.is_set():
                    break
            log.info("stopping")
            ended = self._threads.stop(STOP_TIMEOUT)
            if not (ended or stopping.is_set()):  # it goes on, so no thread may stay behind
                self._ledger.give_up()
                ended = self._threads.stop(STOP_TIMEOUT)
        if ended:  # else a thread may be in a write that hangs, and closing would wait for it
            self._ledger.close()
        if died := self._threads.problem():
            raise ThreadDied(f"{died}; the log has the traceback")
        if not (ended or stopping.is_set()):
            raise ThreadDied("a thread does not end, so this busmon can neither lead nor follow")
