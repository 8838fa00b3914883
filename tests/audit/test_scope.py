"""What can be audited of a bus, by the observers that watch it."""

import pytest

from busmon.audit.scope import Observed
from busmon.message import Stage
from tests.support.audit import BUS, BY_IDS, BY_NUMBERS, STAGES


@pytest.mark.parametrize(
    ("observed", "stages", "exact"),
    [
        (Observed(), STAGES[:1], True),
        (BY_IDS, STAGES, True),
        (Observed(tap="centos", celery="centos", ready="centos"), STAGES[:1], True),
        (Observed(tap=BUS), STAGES[:2], True),
        (Observed(tap=BUS, celery="centos"), STAGES[:2], True),
        (Observed(celery=BUS), STAGES[:1], True),
        (BY_NUMBERS, STAGES[:2], False),
        (BY_NUMBERS._replace(tap=BUS, celery=BUS), STAGES, True),
    ],
)
def test_the_observers_of_a_bus_decide_what_is_audited(
    observed: Observed, stages: tuple[Stage, ...], exact: bool
) -> None:
    scope = observed.scope(BUS)
    assert (scope.stages, scope.exact) == (stages, exact)
    assert scope.matches_ids(Stage.BUS)


def test_a_stage_names_the_observer_that_watches_it() -> None:
    assert BY_IDS.scope(BUS).observers == {
        Stage.LISTENER: "tap:fedora",
        Stage.WORKER: "celery:fedora",
    }
    assert BY_NUMBERS.scope(BUS).observers == {Stage.LISTENER: "ready:fedora"}
