"""All faults, by the place of the ledger."""

from tests.soak.faults import behind, brokers, busmon, messages
from tests.soak.faults.fault import Fault


def faults(*, in_database: bool) -> list[Fault]:
    of_ledger = busmon.OF_DATABASE if in_database else busmon.OF_FILE
    return [*busmon.FAULTS, *of_ledger, *brokers.FAULTS, *behind.FAULTS, *messages.FAULTS]
