"""The errors of the ledger."""


class LedgerError(Exception):
    """The ledger cannot be opened; the text says why, and what to do."""


class LedgerInUseError(LedgerError):
    """Another busmon has it open."""

    def __init__(self, ledger: str, why: str = "each needs its own") -> None:
        super().__init__(f"{ledger}: in use by another busmon; {why}")
        self.ledger = ledger


class LedgerUnreachable(LedgerError):
    """The server of its database cannot be reached, or cannot be written to, now."""


class TooSlow(LedgerError):
    """What was read took longer than it may."""


class LedgerWriteError(Exception):
    """Nothing was written. A batch that is not on disk must not be acknowledged."""
