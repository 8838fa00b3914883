"""Runs one of several busmons that have one ledger: it follows, or leads if no other does."""

import logging
from collections.abc import Callable
from functools import partial
from threading import Event

from busmon.backoff import Backoff
from busmon.config.model import Config
from busmon.ledger.engine import Members
from busmon.ledger.errors import (
    LedgerError,
    LedgerInUseError,
    LedgerUnreachable,
    LedgerWriteError,
    TooSlow,
)
from busmon.ledger.ledger import Ledger
from busmon.ledger.opening import open_when_reachable
from busmon.metrics.collector import make_registry
from busmon.receiver import Receiver
from busmon.replicas import Replica
from busmon.service import STOP_TIMEOUT, Service, open_service
from busmon.silence.shared import FollowersReception
from busmon.threads import Threads, call_in_thread
from busmon.web.app import all_but_health, make_app
from busmon.web.forward import forward_view
from busmon.web.health import problems, ready_view
from busmon.web.server import WebServer
from busmon.web.waiting import Waiting

SLACK = 0.8  # seconds: with STOP_TIMEOUT, and the web server's, the process ends within 5 s

Waits = Callable[[str], None]

log = logging.getLogger(__name__)


def run(config: Config, stopping: Event) -> None:
    """Follow and lead in turn until `stopping`. Raises LedgerError, OSError and ThreadDied.

    It listens all the time, and says what it waits for.
    """
    web = WebServer(config.web)
    waiting = Waiting(config.web, web)
    take_turns = partial(_take_turns, config, web, waiting.waits, stopping)
    with web.serving(waiting.app, stopping):
        call_in_thread("ledger", take_turns, stopping, STOP_TIMEOUT + SLACK)


def _take_turns(config: Config, web: WebServer, waits: Waits, stopping: Event) -> None:
    """Follow and lead in turn.

    The database can fail while a busmon begins to follow or to lead: then it begins anew.
    """
    place, size_limit = config.ledger.place(), config.ledger.size_limit
    backoff = Backoff()
    try:
        ledger = open_when_reachable(place, size_limit, stopping, waits)
    except LedgerInUseError:
        ledger = None
    while not stopping.is_set():
        try:
            if ledger:
                open_service(config, ledger, web).run(stopping)
                ledger = None
            else:
                ledger = follow(config, web, waits, stopping)
            backoff.reset()
        except (LedgerUnreachable, TooSlow) as error:
            _close(ledger)
            ledger = None
            waits(str(error))
            log.warning("%s; beginning anew", error)
            stopping.wait(backoff.next_pause())
    _close(ledger)


def _close(ledger: Ledger | None) -> None:
    if ledger:
        ledger.close()


def follow(config: Config, web: WebServer, waits: Waits, stopping: Event) -> Ledger | None:
    """Follow until `stopping`, or until no other busmon leads: then return the ledger to lead."""
    place, size_limit = config.ledger.place(), config.ledger.size_limit
    ledger = open_when_reachable(place, size_limit, stopping, waits, follows=True)
    if not ledger:
        return None
    taken: list[Ledger] = []

    def leads(members: Members) -> bool:
        if not members.led:
            try:
                taken.append(Ledger(place, size_limit))
            except LedgerInUseError:  # another one was faster
                return False
        return bool(taken)

    try:
        replica = Replica(ledger, leads)
        service = build_follower(config, ledger, web, replica)
    except LedgerError:
        ledger.close()
        raise
    log.info("%s", _standby(replica))
    service.run(stopping)
    if not taken:
        return None
    log.info("no other busmon leads: this one does now")
    return taken[0]


def build_follower(config: Config, ledger: Ledger, web: WebServer, replica: Replica) -> Service:
    """Return what receives its share, and serves the counters; raises LedgerError."""
    threads = Threads()
    buses = {name: bus for name, bus in config.buses.items() if bus.divisible}
    try:
        sources = [bus.make_source(name, ledger) for name, bus in buses.items()]
    except LedgerWriteError as error:
        raise LedgerUnreachable(f"{ledger.name}: cannot be written: {error}") from error
    receiver = Receiver(config, ledger, sources)
    connections = receiver.connections
    registry = make_registry(receiver.metrics, replica, web.closed)

    def not_ready() -> list[str]:
        return [*problems(connections, ledger, threads), *filter(None, [replica.problem])]

    ready = ready_view(not_ready, well=partial(_standby, replica), warning=ledger.warning)
    of_leader = forward_view(lambda: replica.members.url, partial(_standby, replica), config.web)
    app = make_app(config.web, registry, ready, own=all_but_health(of_leader))
    receiver.add_to(threads)
    threads.add("reception", FollowersReception(ledger, connections).run)
    threads.add("replica", replica.run)
    return Service(ledger, threads, web, app, replica)


def _standby(replica: Replica) -> str:
    members = replica.members
    return f"standby: {(members.url or 'another busmon') if members.led else 'no busmon'} leads"
