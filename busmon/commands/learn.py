"""`busmon learn`: learn from the archive what is usual, without the service."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event

from busmon.archive.client import Datagrepper
from busmon.archive.learn_plan import done
from busmon.archive.learner import WEEKS, Learner
from busmon.archive.topics import topics_to_learn
from busmon.archive.worker import Worker
from busmon.clock import steady
from busmon.config.model import Config
from busmon.ledger.archive import Span
from busmon.ledger.ledger import Ledger
from busmon.ledger.tables import Tables
from busmon.rules import rule_set
from busmon.settings.archive import Archive
from busmon.settings.postgresql import Database
from busmon.silence.rates import WEEK_HOURS


@contextmanager
def opened(
    config: Config, archive: Archive, place: str | Database, weeks: int
) -> Iterator[tuple[Worker, Learner]]:
    """Yield what learns into the ledger there. Raises LedgerError."""
    bus = archive.bus
    rules = rule_set(config.buses[bus].rules, config.rules)
    ledger = Ledger(place, config.ledger.size_limit)
    try:
        topics = partial(topics_to_learn, bus, rules, ledger, config.silence.retired)
        client = Datagrepper(archive)
        learner = Learner(client, ledger, bus, topics, weeks=weeks)
        yield Worker(client, ledger, [learner]), learner
    finally:
        ledger.close()


def run(
    worker: Worker, learner: Learner, stopping: Event, on_progress: Callable[[int, int], None]
) -> bool:
    """Learn until all is known or `stopping`; return whether all is known.

    `on_progress` is called after each request with the hours that are known, and all.
    """
    pause = 0.0
    while not stopping.wait(pause):
        pause = worker.step(time.time(), steady())
        on_progress(*learner.progress())
        if learner.finished():
            return True
    return False


def share_of_service(tables: Tables, archive: Archive) -> float:
    """Return how much of it the running service has learned, of the topics that it has begun."""
    spans = {
        topic: span
        for (bus, topic), span in tables.archive_sums.spans().items()
        if bus == archive.bus
    }
    end = max((span.until for span in spans.values()), default=0)
    known, hours = done(spans, spans, Span(end - WEEKS * WEEK_HOURS, end))
    return known / hours if hours else 0.0
