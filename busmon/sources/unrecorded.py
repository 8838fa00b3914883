"""What a source does while the ledger cannot be written."""

from collections.abc import Sequence

from busmon.ledger.batch import Observation
from busmon.ledger.errors import LedgerWriteError
from busmon.sources.base import MessageHandler


class Unrecorded:
    """The last batch of a bus that could not be recorded.

    Without it, a source would subscribe again, receive messages and lose the connection, and
    so on. Each time counts against the delivery limit of a quorum queue. At the limit the
    broker drops the messages.
    """

    def __init__(self) -> None:
        self.observations: Sequence[Observation] = ()

    def settle(self, handler: MessageHandler) -> None:
        """Record the batch now, or write a trial. Raises LedgerWriteError: do not subscribe."""
        if self.observations:
            handler.record(self.observations)
            self.observations = ()
        handler.check()

    def record(self, handler: MessageHandler, batch: Sequence[Observation]) -> None:
        """Record a batch; raises LedgerWriteError."""
        try:
            handler.record(batch)
        except LedgerWriteError:
            # The broker sends the others again, and nothing would show that they are the same.
            self.observations = [one for one in batch if one.redelivered or not one.digest_id]
            raise
