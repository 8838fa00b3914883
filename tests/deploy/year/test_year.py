"""Two hard weeks of the made-up year: all that can be wrong, through the shipped rules.

`make pages-report` has whole years. Here only the busiest topics are watched, to save time.
"""

import numpy as np
import pytest

from tests.deploy.year.causes import KINDS, Cause
from tests.deploy.year.evaluation import firing, wrong
from tests.deploy.year.report import Found, judge, summary, table
from tests.deploy.year.world import make_world
from tests.silence.simulation.traffic import DAY, TOPICS

pytestmark = pytest.mark.timeout(900)  # half a minute of CPU time

FIRST = 196  # day, a Monday
BUSIEST = TOPICS[:5]  # Copr's and Koji's
# These need a day on which enough comes; the others happen at night, in the morning and at noon.
AT_WORK = (
    "the listener hangs",
    "the listener drops half",
    "the workers are too slow",
    "handlers fail",
    "the workers lose tasks",
)
HEAL_SLOWLY = {
    "Fedora's planned outage",
    "GitHub is down",
}
MINUTES = {"the listener drops half": 150.0, "the workers are down": 90.0}


def hard_weeks() -> list[Cause]:
    """Return one cause of each kind that lasts for at most a day, eight hours apart."""
    kinds = [kind for kind in KINDS if kind.minutes[0] < DAY]
    at_work = [kind for kind in kinds if kind.name in AT_WORK]
    others = [kind for kind in kinds if kind.name not in AT_WORK]
    days = [(kind, FIRST + number + 0.45) for number, kind in enumerate(at_work)]
    after = FIRST + len(at_work)
    days += [(kind, after + 0.2 + number / 3) for number, kind in enumerate(others)]
    return [
        Cause(kind, DAY * day, DAY * day + MINUTES.get(kind.name, _usual(kind.minutes)))
        for kind, day in days
    ]


def _usual(minutes: tuple[float, float]) -> float:
    """Return how long it lasts: in between, and so that it would have to page."""
    shortest, longest = minutes
    return min(max(float(np.sqrt(shortest * longest)), min(longest, 75.0)), 240.0)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    causes = hard_weeks()
    world = make_world(np.random.default_rng(3), causes, BUSIEST)
    folder = tmp_path_factory.mktemp("year") / "rules"
    alerts = firing(world.series, wrong(causes, world.topics), folder)
    return judge(alerts, causes, world)


def test_each_outage_pages_and_what_heals_by_itself_does_not(found: Found) -> None:
    """But for what lasts for many minutes before it heals. No cause pages twice."""
    assert found.missed == []
    assert [page.name for page in found.pages if page.again] == [], summary(found)
    paged = {page.cause.kind for page in found.pages if page.cause}
    assert {kind.name for kind in paged if not kind.actionable} == HEAL_SLOWLY
    assert {kind for kind in KINDS if kind.must} <= paged
    assert all(page.cause for page in found.pages), summary(found)


def test_the_report_has_a_row_for_each_outage_that_has_to_page(found: Found) -> None:
    rows = table([found]).splitlines()
    for kind in (kind for kind in KINDS if kind.must):
        assert any(row.startswith(f"| {kind.name} |") for row in rows), kind
