"""The pages in a real browser: a night on duty, sizes of a window, hostile names, the script."""

import time
from collections.abc import Iterator
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen
from uuid import UUID

import pytest

from busmon.ledger.batch import Observation, Series
from busmon.ledger.incidents import Incident
from busmon.ledger.ledger import Ledger
from busmon.ledger.messages import MessageTrace
from busmon.ledger.open_messages import OpenMessage, State
from busmon.ledger.tap_reports import TapReport
from busmon.message import Stage
from tests.support.axe import ALL, COLORS, violations
from tests.support.brokers import free_port
from tests.support.browser import Browser
from tests.support.busmon_process import PROJECT, Busmon
from tests.support.pretenders import FEDORA_TOML

PICTURES = PROJECT / ".cache" / "pages"
COPR = "org.fedoraproject.prod.copr.build.end"
LOST = [str(UUID(int=number, version=4)) for number in range(3)]
BUILD = 7654321
EVIL = "<img src=x onerror=hacked=1><script>hacked=1</script>'\"&/../{{7*7}}"
EVIL_PATH = quote(EVIL, safe="")
BROKEN_STATES = """
[...document.querySelectorAll("td > .good, td > .bad, td > .unknown")]
    .filter((one) => one.getClientRects().length > 1).map((one) => one.innerText)
"""
WINDOWS = [(390, 844), (768, 1024), (1440, 900)]
PAGES = {
    "overview": "/",
    "topics": "/topics",
    "topic": f"/topics/fedora/{COPR}?range=7d",
    "messages": "/messages?q=hello",
    "message": f"/messages/fedora/{LOST[0]}",
    "gaps": "/gaps",
    "accept": f"/gaps/accept?since=1&until=9999999999&topic={COPR}",
    "incidents": "/incidents",
    "problem": "/messages/fedora/nothing",
}
# Its time passes only when the test calls `tick`.
NO_TIMER = "window.setInterval = (call, milliseconds) => { window.tick = call; }"


class Night(NamedTuple):
    """A service that lost messages, and the browser of the engineer on duty, logged in."""

    url: str
    login: str  # the same, with name and password of an operator
    browser: Browser


def tell(ledger: Ledger) -> None:
    """Let three builds, and what a hostile publisher sent, be lost while the listener was away."""
    now = time.time()
    began = now // 300 * 300 - 7200
    about = ("package hello", f"build {BUILD}", "project @packit/hello-main")
    evidence = ("the listener's queue was gone: nobody received what the bus delivered",)
    copr, evil = (Series("fedora", topic, "handled", "") for topic in (COPR, EVIL))
    ledger.record(
        [
            *(Observation(copr, one, began + 9, began + 7, keys=about) for one in LOST),
            *(
                Observation(copr, f"later-{n}", now - 60 * n, now - 60 * n - 1)
                for n in range(40, 0, -1)
            ),
            Observation(evil, EVIL, began + 10, keys=(f"package {EVIL}",)),
        ]
    )
    lost = [(one, COPR) for one in LOST] + [(EVIL, EVIL)]
    with ledger.write() as tables:
        tables.tap_reports.add("fedora", [TapReport("later-1", COPR, "passed", "t")], now - 59)
        tables.incidents.save(
            Incident("fedora", kind, began, began + 900, began + 900, 0.0, evidence, (EVIL,))
            for kind in ("listener", EVIL)
        )
        tables.open_messages.add(
            OpenMessage(
                *(began, began + 300, "fedora", Stage.LISTENER, State.MISSING),
                MessageTrace(one, topic, True, received_at=began + 9),
            )
            for one, topic in lost
        )


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    directory = tmp_path_factory.mktemp("night")
    listener = directory / "fedora.toml"
    listener.write_text(FEDORA_TOML.format(password="p", port=free_port()))
    buses = {"fedora": {"type": "amqp", "rules": "packit", "config": str(listener)}}
    busmon = Busmon(directory, buses)
    busmon.configure('[web.operators.alice]\npassword = "s3cret"')
    busmon.put_into_environment(BUSMON__WEB__USERNAME="reader", BUSMON__WEB__PASSWORD="r")
    ledger = Ledger(str(directory / "ledger.sqlite"))
    tell(ledger)
    ledger.close()
    PICTURES.mkdir(parents=True, exist_ok=True)
    with busmon, Browser(directory) as browser:
        browser.before_each_page(NO_TIMER)
        login = busmon.url.replace("//", "//alice:s3cret@")
        browser.open(login)
        yield Night(busmon.url, login, browser)


@pytest.fixture
def browser(night: Night) -> Iterator[Browser]:
    night.browser.problems.clear()
    yield night.browser
    assert night.browser.run("window.hacked") is None
    known = [one for one in night.browser.problems if " 404 " not in one]
    assert known == [], "what the console says"


def shown(browser: Browser) -> str:
    """Return the text that a person sees."""
    text: str = browser.run("document.body.innerText")
    return " ".join(text.split())


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_every_window_and_axe_finds_nothing(
    night: Night, browser: Browser, name: str
) -> None:
    browser.open(night.url + PAGES[name])
    for scheme, rules in (("light", ALL), ("dark", COLORS)):
        for width, height in WINDOWS:
            browser.show(width, height, scheme)
            assert browser.run("document.documentElement.scrollWidth") <= width
            browser.picture(PICTURES / f"{name}-{width}-{scheme}.png")
        assert violations(browser, rules) == [], scheme


def test_a_state_is_in_one_line_on_a_phone(night: Night, browser: Browser) -> None:
    browser.show(*WINDOWS[0], "light")
    browser.open(f"{night.url}/topics?q=forgejo")
    assert "no baseline yet" in shown(browser)
    assert browser.run(BROKEN_STATES) == []


def test_on_duty_an_engineer_finds_a_lost_build_and_accepts_its_gap(
    night: Night, browser: Browser
) -> None:
    browser.open(f"{night.url}/topics/fedora/{COPR}")  # the alert has bus and topic
    browser.follow("3 messages missing")
    assert "✗ connection" in browser.run("document.title")
    browser.click("3")  # the row with the ids opens
    browser.follow(LOST[0])
    assert "reconsume --callback" in shown(browser)
    assert "missing at the listener in the window" in shown(browser)
    assert "replace MODULE:NAME by that of --callback" in shown(browser)
    browser.follow("Open gaps of this topic at the listener")
    assert COPR in shown(browser)
    browser.follow("Messages")
    browser.fill("Package, pull request, build", str(BUILD))
    browser.press_enter()
    assert "3 messages, the newest first" in shown(browser)
    browser.follow("Gaps")
    browser.follow(f"Accept all of {COPR}")
    assert "You, alice, say that 3 missing messages" in shown(browser)
    browser.fill("Reason", EVIL)
    browser.follow("Accept")
    assert "alice 3 20" in shown(browser)
    assert EVIL in shown(browser)
    assert violations(browser) == []
    browser.open(f"{night.url}/topics/fedora/{COPR}")
    assert "Open gaps none" in shown(browser)


@pytest.mark.parametrize(
    ("path", "times"),
    [
        ("/topics", 1),
        ("/gaps", 2),
        ("/incidents", 3),
        (f"/messages?topic={EVIL_PATH}", 3),
        (f"/topics/fedora/{EVIL_PATH}", 2),
        (f"/messages/fedora/{EVIL_PATH}", 3),
    ],
)
def test_hostile_names_are_text(night: Night, browser: Browser, path: str, times: int) -> None:
    browser.show(*WINDOWS[0], "dark")
    browser.open(night.url + path)
    assert shown(browser).count(EVIL) >= times
    assert browser.run("document.querySelectorAll('main img, main script').length") == 0
    assert browser.run("document.documentElement.scrollWidth") <= WINDOWS[0][0]


def test_a_link_to_a_hostile_name_leads_there(night: Night, browser: Browser) -> None:
    browser.open(f"{night.url}/topics")
    browser.follow(EVIL)
    browser.follow("1 message missing")
    browser.click("1")
    browser.follow(EVIL)


def test_a_page_is_refreshed_unless_it_is_in_use_or_that_is_off(
    night: Night, browser: Browser
) -> None:
    def refreshed() -> bool:
        """Return whether half a minute later the content is another."""
        again = "document.querySelector('main').old = true; tick().then(() =>"
        is_new: bool = browser.run(f"{again} !document.querySelector('main').old)")
        return is_new

    browser.open(f"{night.login}/gaps")
    assert refreshed(), "although the address has a login"
    browser.fill("Topic", "a")
    assert not refreshed(), "while somebody types"
    browser.run("document.activeElement.blur()")
    assert refreshed()
    browser.click("1")
    assert not refreshed(), "while a row is open"
    browser.open(f"{night.url}/gaps")
    browser.click("refresh every 30 s")
    assert not refreshed()
    browser.open(f"{night.url}/")
    assert not refreshed(), "the switch is remembered"
    browser.click("refresh every 30 s")
    assert refreshed()


def test_without_a_login_every_page_is_only_401(night: Night) -> None:
    script = night.browser.run("document.querySelector('script').getAttribute('src')")
    for path in [*PAGES.values(), script, "/incidents.md", "/v1/gaps", "/metrics", "/unknown"]:
        with pytest.raises(HTTPError) as refused:
            urlopen(night.url + path, timeout=30)
        with refused.value as answer:
            assert (answer.status, answer.read()) == (401, b"Unauthorized\n"), path
