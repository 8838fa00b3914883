"""All that has metrics, without a broker, and something for it to count."""

from typing import Any

from pydantic import SecretStr

from busmon.archive.bound import BoundTopics
from busmon.archive.fill import Filling
from busmon.archive.jobs import ArchiveJobs
from busmon.audit.auditor import Auditor
from busmon.audit.scope import Observed
from busmon.diagnosis.bus import Parts
from busmon.diagnosis.watcher import VerdictWatcher
from busmon.ledger.differences import Difference
from busmon.ledger.ledger import Ledger
from busmon.levels.delays import DelayCounter
from busmon.levels.service_levels import ServiceLevelCounter
from busmon.levels.watcher import LevelsWatcher
from busmon.message import Judgement, Message, Outcome
from busmon.metrics.collector import Metrics, make_registry
from busmon.observers.base import Observer, ObserverMetrics
from busmon.observers.celery import CeleryObserver, CelerySettings
from busmon.observers.queue import QueueObserver
from busmon.observers.ready import ReadyObserver, ReadySettings
from busmon.observers.tap import TapObserver
from busmon.observers.tap_batch import ReportBatch
from busmon.pipeline import Pipeline
from busmon.replicas import Replica
from busmon.rules import Rules, rule_set
from busmon.settings.audit import Audit
from busmon.settings.models import Web
from busmon.settings.service_level import ServiceLevel
from busmon.settings.silence import Silence
from busmon.silence.blind_time import BlindTime
from busmon.silence.metrics import SilenceMetrics
from busmon.silence.watcher import SilenceWatcher
from busmon.sources.base import Cause, ConnectionState
from busmon.sources.listener_queue import ListenerQueue, QueueState
from busmon.threads import Threads
from busmon.web.info import WebInfo
from busmon.web.refusals import Refusals
from busmon.web.server import ClosedConnections
from tests.support.datagrepper import settings as settings_of_archive
from tests.support.sources import count

COPR = "org.fedoraproject.prod.copr.build.end"
NOT_JSON = Judgement(Outcome.INVALID, "not-json")
NOW = 1_700_000_000.0
WEB = Web(public_url="https://host/busmon/", grafana_url="https://grafana/")
SERVICE_LEVEL = ServiceLevel(
    bus="fedora", topics=(COPR,), stage="listener", within=60, objective=0.98
)
SETTINGS = Silence.model_validate({"retired": {COPR: "2026-12-01"}})


def queue_in_use(*_: object) -> dict[str, QueueState]:
    """Say of the listener's queue what a broker would."""
    return {"its-queue": QueueState(messages=3, consumers=1)}


class Bench:
    """All that counts, without a broker: one bus `fedora` and one `centos`."""

    def __init__(self, path: str, broker: str = "redis://localhost") -> None:
        self.ledger = Ledger(path)
        with self.ledger.write() as tables:
            tables.differences.save(Difference("fedora", COPR, 19_000, 2, 1, 1, 0))
        self.connections = {"fedora": ConnectionState(), "centos": ConnectionState()}
        metrics = Metrics(self.ledger, self.connections, "1.2.3", 1024**3)
        rule_sets = {"fedora": rule_set("packit", Rules()), "centos": rule_set("centos", Rules())}
        blind = BlindTime(self.ledger, self.connections, NOW)
        self.silence = SilenceWatcher(SETTINGS, self.ledger, rule_sets, blind)
        ready = ReadyObserver(ReadySettings(bus="fedora", url="http://localhost"), self.ledger)
        self.celery = CeleryObserver(
            CelerySettings(bus="fedora", broker=SecretStr(broker)), self.ledger
        )
        self.tap = TapObserver(self.ledger, "fedora")
        self.queue = QueueObserver("fedora", queue_in_use, self.ledger)
        watching: list[Observer] = [self.tap, ready, self.celery, self.queue]
        silence = SilenceMetrics(self.silence, blind, lambda: NOW)
        settings, observed = Audit(), Observed(tap="fedora")
        buses = list(self.connections)
        self.auditor = audit = Auditor(settings, observed, self.ledger, 7 * 86400, buses)
        queues = dict.fromkeys(self.connections, ListenerQueue.UNKNOWN)
        parts = Parts(self.ledger, self.connections, blind, self.silence, watching, audit, queues)
        verdicts = VerdictWatcher(settings, parts, Threads(), lambda: NOW)
        scopes = {"fedora": observed.scope("fedora")}
        levels = LevelsWatcher(
            self.ledger,
            DelayCounter(scopes, metrics.delays, NOW),
            ServiceLevelCounter(
                self.ledger, {"copr": SERVICE_LEVEL}, scopes, settings.grace, 7 * 86400
            ),
        )
        rejections = {"fedora": [NOT_JSON], "centos": []}
        self.pipeline = Pipeline(self.ledger, rule_sets, rejections, 1, metrics.observe)
        bound, scope, refresh = BoundTopics(["#"]), observed.scope("fedora"), audit.refresh
        filling = Filling("fedora", bound, self.pipeline, scope, settings, 7 * 86400, refresh)
        at, topics = settings_of_archive("http://127.0.0.1:1"), lambda: [COPR]
        archive = ArchiveJobs(at, self.ledger, topics, self.silence, blind, filling)
        observers = ObserverMetrics([*watching, archive])
        replica = Replica(self.ledger, lambda _: False)
        rest = levels, Refusals(), ClosedConnections(), WebInfo(WEB), replica
        self.registry = make_registry(metrics, silence, observers, audit, verdicts, *rest)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def number(self, name: str, **labels: str) -> float:
        value = self.value(name, **labels)
        assert value is not None, name
        return value


def message(identity: str, topic: str = COPR, **values: Any) -> Message:
    usual: dict[str, Any] = {"bus": "fedora", "received_at": NOW, "body": {"user": "packit"}}
    return Message(**usual | values, id=identity, topic=topic)


def busy(bench: Bench) -> Bench:
    """Let something have happened everywhere."""
    count(
        bench.pipeline,
        [
            message("1", sent_at=NOW - 2, size=3000, unknown_schema=True),
            message("1", unknown_schema=True),
            message("2", body={"user": "somebody"}),
            message("3", rejected=NOT_JSON),
            message("4", 'un"known\\\n'),
            message("5", "unknown too"),
            message("6", "git.centos.org/pull-request.new", bus="centos"),
        ],
    )
    report = ReportBatch(
        tap="tap", seq=1, bus="fedora", since=1.0, until=0.0, lost=0, reports=[], last=False
    )
    bench.tap.take(report, NOW)
    bench.connections["fedora"].up()
    bench.connections["fedora"].down(Cause.SILENT, "no heartbeat")
    bench.connections["centos"].down(Cause.TLS, "certificate verify failed")
    return bench
