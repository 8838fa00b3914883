"""`busmon demo`: made-up traffic of both buses through the real code, without a broker."""

import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Mapping

from pydantic import SecretStr

from busmon.config.model import Config
from busmon.demo.bus import MadeUpBus
from busmon.demo.history import DAYS, History
from busmon.demo.listener import MadeUpListener
from busmon.demo.story import PACE, SILENT, Story
from busmon.ledger.ledger import Ledger
from busmon.message import Judgement
from busmon.observers.base import Observer
from busmon.observers.celery import CelerySettings
from busmon.observers.table import ObservedAudit
from busmon.observers.tap import TapObserver, TapSettings
from busmon.pipeline import Pipeline
from busmon.rules import RuleSet, rule_set
from busmon.rules.subjects import Subjects
from busmon.service import Service, build_service
from busmon.settings.models import LedgerSettings, Web
from busmon.web.server import WebServer

FEDORA_SHARE = 0.9  # of all messages, roughly as on the real buses
LOOK_AT = f"""\
Four weeks are made up: a topic is silent, one is low, the listener hung, a handler failed.
Look at:
  {{url}}/topics           what comes, and what is usual
  {{url}}/topics/fedora/{SILENT}
  {{url}}/gaps             what is lost, and how to heal it
  {{url}}/messages?q=bash  what came of a package; a build or pull request, too
  {{url}}/incidents        what was wrong, and when"""
HISTORY_RATE = 0.05  # messages a second: more would take longer to write


def run(
    listen: str,
    rate: float,
    stopping: threading.Event,
    announce: Callable[[str], None],
    *,
    empty: bool = False,
) -> None:
    """Serve until `stopping`; `rate` is in messages a second. Raises OSError.

    `announce` gets what to look at. `empty`: without a history.
    """
    with tempfile.TemporaryDirectory(prefix="busmon-demo-") as directory:
        ledger = Ledger(f"{directory}/ledger.sqlite")
        config = configuration(listen, rate, {} if empty else PACE)
        service = _service(config, ledger, stopping, empty=empty)
        announce(f"{service.url}/ (Ctrl-C stops it)")
        if not empty:
            announce(LOOK_AT.format(url=service.url))
        service.run(stopping)


def configuration(listen: str, rate: float, pace: Mapping[str, float]) -> Config:
    """Return a configuration that needs no broker."""
    celery = CelerySettings.model_construct(bus="fedora")
    tap = TapSettings(bus="fedora", token=SecretStr(secrets.token_hex()))
    fedora = MadeUpBus(kind="fedora", rules="packit", rate=rate * FEDORA_SHARE, pace=dict(pace))
    centos = MadeUpBus(kind="centos", rules="centos", rate=rate * (1 - FEDORA_SHARE))
    return Config.model_construct(
        web=Web(listen=listen),
        ledger=LedgerSettings(retention=(DAYS + 2) * 86400),
        audit=ObservedAudit.model_construct(reports=tap, celery=celery),
        buses={"fedora": fedora, "centos": centos},
    )


def write_history(
    config: Config, ledger: Ledger, rate: float, now: float, stopping: threading.Event
) -> History:
    """Write what happened until `now`, a Unix time, with so many messages a second."""
    shares = {"fedora": FEDORA_SHARE, "centos": 1 - FEDORA_SHARE}
    rates = {bus: share * rate for bus, share in shares.items()}
    subjects, limit = Subjects(config.ledger.subjects), config.limits.unknown_topics
    none: dict[str, tuple[Judgement, ...]] = dict.fromkeys(config.buses, ())
    pipeline = Pipeline(ledger, _rule_sets(config), none, limit, lambda _: None, subjects)
    history = History(ledger, config.audit.observed(config.buses), rates, Story(now))
    history.write(pipeline, config.audit, stopping)
    return history


def _service(config: Config, ledger: Ledger, stopping: threading.Event, *, empty: bool) -> Service:
    if not empty:
        history = write_history(config, ledger, HISTORY_RATE, time.time(), stopping)
        history.watch(time.time())
    sources = [bus.make_source(name, ledger) for name, bus in config.buses.items()]
    tap = TapObserver(ledger, "fedora")
    observers: list[Observer] = [tap, MadeUpListener(ledger, tap, time.time())]
    return build_service(config, ledger, WebServer(config.web), sources, observers)


def _rule_sets(config: Config) -> Mapping[str, RuleSet]:
    return {name: rule_set(bus.rules, config.rules) for name, bus in config.buses.items()}
