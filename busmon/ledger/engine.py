"""What a database must offer to hold a ledger."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from busmon.ledger.tables import Tables


@dataclass(frozen=True, slots=True)
class Members:
    """Who has a ledger that several can have."""

    replicas: int
    led: bool  # whether one of them leads
    leads: bool  # whether this one does, or did last
    url: str  # of the one that leads, or led last; empty if it is not known


class Engine(Protocol):
    """An open ledger. One thread at a time writes; any may read."""

    @property
    def name(self) -> str:
        """What it is called, without any password."""

    @property
    def shared(self) -> bool:
        """Whether other processes can write, too, so that what is counted is read each time."""

    def transaction(self) -> AbstractContextManager[Tables]:
        """Write: afterwards all of it is on disk, or nothing. Raises LedgerWriteError."""

    def read(self, seconds: float | None) -> AbstractContextManager[Tables]:
        """Read what was committed, all of one moment, and wait for no writer.

        Raises LedgerError, and TooSlow if a query is not done in so many seconds.
        """

    def members(self) -> Members | None:
        """Return who has the ledger, None if only one can have it; raise LedgerError."""

    def announce(self, url: str) -> None:
        """Write where the leader answers; raise LedgerWriteError.

        If `url` has the address of no host, it is that from which it reaches the database.
        """

    def problem(self) -> str | None:
        """Return why nothing may be written, or None. It takes some microseconds."""

    def warning(self) -> str | None:
        """Return what endangers that which is written, or None."""

    def check_room(self) -> None:
        """Within a transaction: write what a large batch takes, and undo it."""

    def erasing(self) -> AbstractContextManager[None]:
        """Within a transaction: overwrite what is deleted, as far as the database can."""

    def used_bytes(self, tables: Tables) -> int:
        """Within a transaction: return how many bytes the rows and indexes take."""

    def log_bytes(self) -> int:
        """Return the bytes of a write-ahead log of its own; 0 without any."""

    def empty_log(self) -> None:
        """Empty that log, unless another program reads it; raise LedgerWriteError."""

    def give_up(self) -> None:
        """Let a write that hangs fail, as far as the database can, and each one after it."""

    def close(self) -> None:
        """Close all connections."""
