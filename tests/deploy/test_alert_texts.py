"""The texts and links of the alerts, expanded by Prometheus's own code."""

import json
import re
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

from busmon.web.pages.table import PAGES
from tests.deploy.alert_texts import GRAFANA, STARTED, VALUES, AlertText, expanded
from tests.deploy.alert_texts import PAGES as PUBLIC_URL

DASHBOARDS = Path(__file__).parents[2] / "config/grafana/dashboards"
WITHOUT_BUS = {"BusmonBlind", "BusmonNoAuditData"}  # what they are about may have no bus
MANY = {"BusmonDuplicatesHigh", "BusmonEventsNotProcessed"}  # never about a single message
SIX_HOURS_BEFORE = str(-6 * 3600 * 1000)


@pytest.fixture(scope="module")
def texts() -> list[AlertText]:
    return expanded()


def test_the_summary_is_one_sentence_that_names_the_place(texts: list[AlertText]) -> None:
    for alert in texts:
        if alert.name == "Watchdog":
            continue
        summary = alert.annotations["summary"]
        assert summary.startswith(f"{VALUES['namespace']}: "), alert
        assert summary.endswith("."), alert
        assert len(summary) <= 230, alert
        for label in ("bus", "topic", "queue", "task", "slo", "instance"):
            assert alert.labels.get(label, "") in summary, alert


def test_the_description_says_since_when_and_what_to_do(texts: list[AlertText]) -> None:
    for alert in texts:
        if alert.name == "Watchdog":
            continue
        description = alert.annotations["description"]
        assert re.fullmatch(rf"[^ ].* {STARTED}[.] [A-Z].*[.]", description), alert


def test_texts_read_well_with_and_without_a_namespace(texts: list[AlertText]) -> None:
    without = expanded("")
    assert len(without) == len(texts)
    for alert, nowhere in zip(texts, without, strict=True):
        assert f"{VALUES['namespace']}: {nowhere.annotations['summary']}" in (
            alert.annotations["summary"],
            f"{VALUES['namespace']}: {alert.annotations['summary']}",  # the Watchdog's
        )
        for text in (*alert.annotations.values(), *nowhere.annotations.values()):
            assert text == text.strip()
            assert not re.search(r"  | [.,;]|\(\)|<no value>|error expanding|[$`]\w*[{}]", text), (
                text
            )


def test_one_message_or_task_is_not_called_several() -> None:
    for alert in expanded(value=1):
        if alert.name not in MANY:
            text = alert.annotations["summary"] + alert.annotations["description"]
            assert not re.search(r"\b1 (messages|wait)\b", text), text


def test_an_alert_about_all_buses_reads_well_without_a_bus() -> None:
    alerts = [alert for alert in expanded(lacking=("bus", "stage")) if alert.name in WITHOUT_BUS]
    assert {alert.name for alert in alerts} == WITHOUT_BUS
    for alert in alerts:
        text = " ".join(alert.annotations.values())
        assert not re.search(r"  | [.,;]|var-bus|the bus\b|<no value>", text), text


def test_page_urls_lead_to_pages_of_busmon(texts: list[AlertText]) -> None:
    for alert in texts:
        url = alert.annotations.get("page_url")
        if alert.name in {"BusmonDown", "Watchdog"}:  # nobody answers; nothing is wrong
            assert url is None
            continue
        assert url
        assert url.startswith(f"{PUBLIC_URL}/")
        page, *rest = urlsplit(url.removeprefix(f"{PUBLIC_URL}/")).path.split("/")
        if "topic" in alert.labels:
            assert (page, *map(unquote, rest)) == ("topics", VALUES["bus"], VALUES["topic"])
            assert rest[1] == quote(VALUES["topic"], safe="")
        else:
            assert page in {page.path for page in PAGES}
            assert not rest


def test_dashboard_urls_lead_to_the_panel_of_the_alert(texts: list[AlertText]) -> None:
    dashboards = [json.loads(path.read_text()) for path in DASHBOARDS.glob("*.json")]
    panels = {(of["uid"], str(panel["id"])) for of in dashboards for panel in of["panels"]}
    for alert in texts:
        if alert.name == "Watchdog":
            continue
        url = urlsplit(alert.annotations["dashboard_url"])
        assert f"{url.scheme}://{url.netloc}" == GRAFANA
        [*_, uid] = url.path.split("/")
        query = {name: value for name, [value] in parse_qs(url.query).items()}
        assert (uid, query.pop("viewPanel")) in panels
        assert (query.pop("from"), query.pop("to")) == (SIX_HOURS_BEFORE, "now")
        chosen = {"namespace", "bus", "topic"} & alert.labels.keys()
        assert query == {f"var-{name}": VALUES[name] for name in chosen}


def test_without_urls_in_the_configuration_there_are_no_links() -> None:
    for alert in expanded(linked=False):
        assert not alert.annotations.get("page_url")
        assert not alert.annotations.get("dashboard_url")
        assert alert.annotations["runbook_url"].startswith("https://")


@pytest.mark.parametrize(
    ("topic", "administrators"),
    [
        ("org.fedoraproject.prod.copr.build.end", "the Copr team (Matrix #buildsys:"),
        (
            "org.fedoraproject.prod.openscanhub.task.started",
            "the developers of OpenScanHub (https:",
        ),
        ("org.fedoraproject.prod.logdetective.analysis", "the developers of Log Detective (https:"),
        ("org.fedoraproject.prod.hotness.update.bug.file", "Fedora Infrastructure (Matrix #admin:"),
        (
            "org.release-monitoring.prod.anitya.project.version.update.v2",
            "Fedora Infrastructure (Matrix #admin:",
        ),
        ("git.centos.org/pull-request.new", "the administrators of its publisher."),
    ],
)
def test_alerts_about_a_publisher_say_whom_to_tell(topic: str, administrators: str) -> None:
    alerts = [alert for alert in expanded(topic=topic) if alert.name == "BusmonTopicSilent"]
    assert len(alerts) == 2
    for alert in alerts:
        assert f"then tell {administrators}" in alert.annotations["description"]
        assert "https://status.fedoraproject.org" in alert.annotations["description"]


def test_a_topic_adds_neither_lines_nor_anything_invisible() -> None:
    alerts = [of for of in expanded(topic='a\nb\u202ec "}{{ up }}\\') if "topic" in of.labels]
    assert alerts
    for alert in alerts:
        assert 'a?b?c "}{{ up }}\\' in alert.annotations["summary"]
        assert "error" not in str(alert.annotations)
