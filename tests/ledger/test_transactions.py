"""What is written is written completely, or not at all."""

from contextlib import suppress

import pytest

from busmon.ledger.errors import LedgerWriteError
from busmon.ledger.ledger import Ledger
from tests.support.ledgers import NOW, judged


def test_an_error_within_a_transaction_undoes_all_of_it(ledger: Ledger) -> None:
    with suppress(KeyError), ledger.write() as tables:
        tables.windows.begin(NOW)
        tables.coverage.start("tap:fedora", NOW)
        raise KeyError
    with ledger.read() as tables:
        assert tables.windows.closed_until() is None
        assert tables.coverage.intervals("tap:fedora") == []
    assert ledger.problem() is None


def test_what_comes_after_closing_is_not_recorded(ledger: Ledger) -> None:
    ledger.close()
    with pytest.raises(LedgerWriteError):
        ledger.record(judged(1))
