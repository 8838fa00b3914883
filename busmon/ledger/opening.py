"""How the service opens its ledger: it waits for a server that cannot be reached yet."""

import logging
from threading import Event

from busmon.backoff import Backoff
from busmon.ledger.engines import LedgerPlace
from busmon.ledger.errors import LedgerUnreachable
from busmon.ledger.ledger import Ledger
from busmon.problem_log import ProblemLog

log = logging.getLogger(__name__)


def open_when_reachable(
    place: LedgerPlace, size_limit: int, stopping: Event, *, follows: bool = False
) -> Ledger | None:
    """Open a ledger as soon as it can be reached; return None if it is `stopping` before.

    Raises LedgerError for anything else that is wrong.
    """
    backoff, problems = Backoff(), ProblemLog(log)
    while not stopping.is_set():
        try:
            ledger = Ledger(place, size_limit, follows=follows)
        except LedgerUnreachable as error:
            problems.problem("%s; busmon starts as soon as it can be reached", error)
            stopping.wait(backoff.next_pause())
        else:
            problems.solved("the ledger can be reached")
            return ledger
    return None
