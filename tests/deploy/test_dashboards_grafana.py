"""The dashboards, as Grafana's own library understands them."""

from tests.deploy.dashboards import BOARDS, panels
from tests.support.grafana_data import show


def test_grafana_knows_every_unit_reducer_transformation_and_matcher() -> None:
    asked = [panel for board in BOARDS.values() for panel in panels(board)]
    found = zip(asked, show([{"panel": panel} for panel in asked]), strict=True)
    assert [(panel["title"], shown["unknown"]) for panel, shown in found if shown["unknown"]] == []


def test_what_grafana_does_not_know_is_found() -> None:
    """Grafana itself is silent about it: it writes the name of the unit behind the value."""
    panel = {
        "fieldConfig": {
            "defaults": {"unit": "second"},
            "overrides": [
                {"matcher": {"id": "byTitle"}, "properties": [{"id": "unit", "value": "suffix:"}]}
            ],
        },
        "options": {"legend": {"calcs": ["lastNotNull", "latest"]}},
        "transformations": [{"id": "join", "options": {}}, {"id": "merge", "options": {}}],
    }
    (shown,) = show([{"panel": panel}])
    assert shown["unknown"] == [
        "unit second",
        "unit suffix:",
        "reducer latest",
        "transformation join",
        "matcher byTitle",
    ]
