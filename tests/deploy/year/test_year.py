"""Three hard weeks of the made-up year: all that can be wrong, through the shipped rules.

`make pages-report` has whole years. Here only the busiest topics are watched, to save time.
"""

import numpy as np
import pytest

from tests.deploy.year.causes import BY_NAME, KINDS, Cause
from tests.deploy.year.evaluation import firing, wrong
from tests.deploy.year.report import Found, judge, summary, table
from tests.deploy.year.world import make_world
from tests.silence.simulation.traffic import DAY, TOPICS

FIRST = 196  # day, a Monday
BUSIEST = TOPICS[:5]  # Copr's and Koji's
# Half a day each; those of the workers need a day on which enough comes.
AT_NOON = (
    "the listener hangs",
    "the listener drops half",
    "the workers are too slow",
    "handlers fail",
    "the workers lose tasks",
)
MINUTES = {"the listener drops half": 150.0, "the workers are down": 90.0}


def hard_weeks() -> list[Cause]:
    """Return one cause of each kind that lasts for at most a day, one after another."""
    kinds = [kind for kind in KINDS if kind.minutes[0] < DAY]
    noon = [kind for kind in kinds if kind.name in AT_NOON]
    others = [kind for kind in kinds if kind.name not in AT_NOON]
    times = [(kind, FIRST + number + 0.45) for number, kind in enumerate(noon)]
    free = [
        FIRST + slot / 3 + hour / 24
        for slot, hour in ((slot, 5.0) for slot in range(3 * 21))
        if not any(abs(FIRST + slot / 3 + hour / 24 - at) < 0.3 for _, at in times)
    ]
    times += list(zip(others, free, strict=False))
    return sorted(
        (
            Cause(kind, DAY * at, DAY * at + MINUTES.get(kind.name, _usual(kind.minutes)))
            for kind, at in times
        ),
        key=lambda cause: cause.begin,
    )


def _usual(minutes: tuple[float, float]) -> float:
    """Return how long it lasts: in between, and so that it would have to page."""
    shortest, longest = minutes
    return min(max((shortest * longest) ** 0.5, min(longest, 75.0)), 240.0)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    causes = hard_weeks()
    world = make_world(np.random.default_rng(3), causes, BUSIEST)
    folder = tmp_path_factory.mktemp("year") / "rules"
    alerts = firing(world.series, wrong(causes, world.topics), folder)
    return judge(alerts, causes, world)


def test_each_outage_pages_once_and_what_heals_by_itself_does_not(found: Found) -> None:
    print(summary(found))
    assert found.missed == []
    paged = [page.cause.kind.name if page.cause else page.name for page in found.pages]
    must = {cause.kind.name for cause in found.causes if cause.kind.must}
    assert {name for name in paged if BY_NAME[name].actionable} >= must
    assert not any(page.again for page in found.pages)


def test_the_report_has_a_row_for_each_outage_that_has_to_page(found: Found) -> None:
    rows = table([found]).splitlines()
    for kind in (kind for kind in KINDS if kind.must):
        assert any(row.startswith(f"| {kind.name} |") for row in rows), kind
