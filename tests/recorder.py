"""A process with a ledger of its own, to be killed or starved: `python -m tests.recorder LEDGER`.

Each line of its input is `record ID…`, a batch; `queue BUS`; or `limit BYTES`, the size
that its files may have from now on (-1: any). The first two are answered by one line.
"""

import resource
import sys
import time
from collections.abc import Sequence

from busmon.ledger import Ledger, NotRecorded
from busmon.message import Message, Outcome, Verdict


def main() -> None:
    ledger = Ledger(sys.argv[1])
    for line in sys.stdin:
        command, *words = line.split()
        if command == "limit":
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(words[0]), hard))
            continue
        try:
            print(ledger.own_queue(*words) if command == "queue" else record(ledger, words))
        except NotRecorded as error:
            counted = sum(tally.messages for tally in ledger.tallies().values())
            print(f"not recorded: {error} | {ledger.problem()} | counted {counted}")
        sys.stdout.flush()


def record(ledger: Ledger, ids: Sequence[str]) -> str:
    verdict = Verdict(Outcome.HANDLED)
    messages = [Message(bus="fedora", id=i, topic="a", received_at=time.time()) for i in ids]
    recorded = ledger.record([(message, verdict) for message in messages])
    return f"recorded {len(recorded.new)}, problem {ledger.problem()}"


if __name__ == "__main__":
    main()
