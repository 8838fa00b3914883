"""What is written twice: nobody knows whether it is on record, or it has the same key."""

from busmon.ledger.ledger import Ledger
from busmon.ledger.values import Interval
from tests.support.ledgers import NOW


def test_queues_that_were_found_can_be_written_again(ledger: Ledger) -> None:
    for _ in range(2):
        with ledger.write() as tables:
            tables.buses.add_found_queues("fedora", ["a", "b"])
    with ledger.read() as tables:
        assert tables.buses.found_queues("fedora") == {"a", "b"}


def test_of_two_blind_times_with_one_beginning_the_last_counts(ledger: Ledger) -> None:
    with ledger.write() as tables:
        spans = [
            Interval(NOW, NOW + 1),
            Interval(NOW + 0.0001, NOW + 2),  # one to the database, which has milliseconds
            Interval(NOW + 5, NOW + 6),
        ]
        tables.blind_times.save("fedora", NOW + 7, 3.0, spans)
        expected = [Interval(NOW, NOW + 2), Interval(NOW + 5, NOW + 6)]
        assert tables.blind_times.between("fedora", 0.0, NOW + 10) == expected
