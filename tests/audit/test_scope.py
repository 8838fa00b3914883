"""What can be audited of a bus, by the observers that watch it."""

import pytest

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
    ],
)
def test_the_observers_of_a_bus_decide_what_is_audited(
    observed: Observed, stages: tuple[Stage, ...]
) -> None:
    assert observed.scope(BUS).stages == stages


def test_a_stage_names_the_observer_that_watches_it() -> None:
    assert BY_IDS.scope(BUS).observers == {
        Stage.LISTENER: "tap:fedora",
        Stage.WORKER: "celery:fedora",
    }
