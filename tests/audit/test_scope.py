"""What can be audited of a bus, by the observers that watch it."""

import pytest

from busmon.audit.absences import AbsenceSource
from busmon.audit.scope import Observed
from busmon.message import Stage
from tests.support.audit import BUS, BY_IDS, STAGES


@pytest.mark.parametrize(
    ("observed", "stages"),
    [
        (Observed(), STAGES[:1]),
        (BY_IDS, STAGES),
        (Observed(tap="centos", celery="centos"), STAGES[:1]),
        (Observed(tap=BUS), STAGES[:2]),
        (Observed(tap=BUS, celery="centos"), STAGES[:2]),
        (Observed(celery=BUS), STAGES[:1]),
        (Observed(temporary=frozenset({BUS}), queues=frozenset({BUS})), STAGES[:1]),
    ],
)
def test_the_observers_of_a_bus_decide_what_is_audited(
    observed: Observed, stages: tuple[Stage, ...]
) -> None:
    assert observed.scope(BUS).stages == stages


ONLY_FEDORA = frozenset({BUS})


@pytest.mark.parametrize(
    ("observed", "source", "gap_stages"),
    [
        (BY_IDS, None, STAGES[1:]),
        (BY_IDS._replace(queues=ONLY_FEDORA), None, STAGES[1:]),
        (BY_IDS._replace(temporary=ONLY_FEDORA), AbsenceSource.TAP, STAGES[1:]),
        (Observed(temporary=ONLY_FEDORA), None, ()),
        (Observed(queues=ONLY_FEDORA), None, ()),
        (
            Observed(temporary=ONLY_FEDORA, queues=ONLY_FEDORA),
            AbsenceSource.QUEUE,
            STAGES[1:2],
        ),
    ],
)
def test_absences_count_if_the_queue_is_deleted_with_its_connection(
    observed: Observed, source: AbsenceSource | None, gap_stages: tuple[Stage, ...]
) -> None:
    scope = observed.scope(BUS)
    assert (scope.absences, scope.gap_stages) == (source, gap_stages)


def test_a_stage_names_the_observer_that_watches_it() -> None:
    assert BY_IDS.scope(BUS).observers == {
        Stage.LISTENER: "tap:fedora",
        Stage.WORKER: "celery:fedora",
        Stage.HANDLERS: "celery:fedora",
    }
