"""Deliver messages without a broker, at a rate: recorded ones and made-up ones."""

import logging
import time
from collections.abc import Iterable
from itertools import islice

from busmon.ledger.batch import Observation
from busmon.ledger.errors import LedgerWriteError
from busmon.message import Message
from busmon.problem_log import ProblemLog
from busmon.sources.base import Cause, ConnectionState, MessageHandler

MAX_BATCH_MESSAGES = 500
MAX_BATCH_SECONDS = 0.1  # that a batch spans, so that a slow rate shows progress, too
RETRY_SECONDS = 1.0  # until a batch that could not be recorded is tried again

log = logging.getLogger(__name__)


def feed(
    messages: Iterable[Message],
    rate: float | None,
    connection: ConnectionState,
    handler: MessageHandler,
) -> None:
    """Hand over `messages` in batches until there are no more, or until stopping.

    `rate` is in messages a second; None is as fast as they are recorded. A batch that is not
    recorded is tried again, as a broker sends again what is not acknowledged.
    """
    size = MAX_BATCH_MESSAGES
    if rate is not None:
        size = min(size, max(1, int(rate * MAX_BATCH_SECONDS)))

    def judge(message: Message) -> Observation:
        connection.turned()
        return handler.judge(message)

    remaining, stopping = map(judge, messages), connection.stopping
    problems = ProblemLog(log)
    started = time.monotonic()
    delivered = 0
    connection.up()
    while not stopping.is_set() and (batch := list(islice(remaining, size))):
        _record(batch, connection, handler, problems)
        delivered += len(batch)
        if rate is not None:
            connection.resting()
            stopping.wait(started + delivered / rate - time.monotonic())
    connection.resting()


def _record(
    batch: list[Observation],
    connection: ConnectionState,
    handler: MessageHandler,
    problems: ProblemLog,
) -> None:
    while not connection.stopping.is_set():
        try:
            handler.record(batch)
        except LedgerWriteError as error:
            connection.down(Cause.LEDGER, str(error))
            problems.problem(f"{connection.problem()}; trying again and again")
            connection.stopping.wait(RETRY_SECONDS)
            continue
        if not connection.connected:
            connection.up()
            problems.solved()
        return
