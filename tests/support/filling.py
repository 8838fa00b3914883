"""Fills the blind times of a ledger in a process of its own, which can be killed.

`python -m tests.support.filling LEDGER URL TOPIC NOW` prints a line after each step. NOW is a Unix
time, up to which busmon has received.
"""

import sys

from busmon.archive.bound import BoundTopics
from busmon.archive.client import Datagrepper
from busmon.archive.fill import BlindTimeFiller, Filling
from busmon.audit.scope import Observed
from busmon.audit.windows import AuditWindows
from busmon.ledger.ledger import Ledger
from busmon.pipeline import Pipeline
from busmon.rules import Rules, rule_set
from tests.support.audit import AUDIT
from tests.support.datagrepper import settings

BUS = "fedora"


def main(path: str, url: str, topic: str, now: float) -> None:
    ledger = Ledger(path)
    with ledger.write() as tables:
        tables.blind_times.save(BUS, now, 0, [])
    windows = AuditWindows(ledger, AUDIT, Observed(), [BUS])
    while windows.close_next(now):
        pass
    pipeline = Pipeline(ledger, {BUS: rule_set("packit", Rules())}, {BUS: []}, 10, lambda _: None)
    scope = Observed().scope(BUS)
    filling = Filling(
        *(BUS, BoundTopics([topic]), pipeline, scope, AUDIT, 7 * 86400, windows.refresh)
    )
    filler = BlindTimeFiller(Datagrepper(settings(url)), ledger, filling)
    print("ready", flush=True)
    while filler.step(now):
        print("step", flush=True)


if __name__ == "__main__":
    ledger_path, archive, name, until = sys.argv[1:]
    main(ledger_path, archive, name, float(until))
