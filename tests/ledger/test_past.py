import time
from pathlib import Path

from busmon.ledger.ledger import Ledger
from tests.ledger.past import with_past
from tests.support.ledgers import counted, judged


def test_a_ledger_with_a_past_counts_and_prunes_like_any_other(tmp_path: Path) -> None:
    now = time.time()
    ledger = Ledger(str(with_past(tmp_path / "ledger.sqlite", 1200, now - 7200, now - 3600)))
    ledger.record(judged("new", at=now))
    assert (ledger.size()[0], counted(ledger)) == (1201, 2)  # of the past only the first
    while ledger.prune(now, 600):
        pass
    assert (ledger.size()[0], ledger.pruned["age"]) == (1, 1200)
    ledger.close()
