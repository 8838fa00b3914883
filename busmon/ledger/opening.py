"""How the service opens its ledger: it waits for a server that cannot be used yet."""

import logging
from collections.abc import Callable
from threading import Event

from busmon.backoff import Backoff
from busmon.ledger.engines import LedgerPlace
from busmon.ledger.errors import LedgerUnreachable, TooSlow
from busmon.ledger.ledger import Ledger
from busmon.problem_log import ProblemLog

log = logging.getLogger(__name__)


def open_when_reachable(
    place: LedgerPlace,
    size_limit: int,
    stopping: Event,
    waits: Callable[[str], None],
    *,
    follows: bool = False,
) -> Ledger | None:
    """Open a ledger as soon as that is possible; return None if it is `stopping` before.

    `waits` is called with the reason for which it waits, or "". Raises LedgerError for what is
    wrong until somebody corrects it.
    """
    backoff, problems = Backoff(), ProblemLog(log)
    waits("")
    while not stopping.is_set():
        try:
            ledger = Ledger(place, size_limit, follows=follows)
        except (LedgerUnreachable, TooSlow) as error:
            waits(str(error))
            problems.problem("%s; busmon goes on as soon as it can be reached", error)
            stopping.wait(backoff.next_pause())
        else:
            problems.solved("the ledger can be reached")
            if ledger.warning:
                log.warning("ledger: %s", ledger.warning)
            return ledger
    return None
