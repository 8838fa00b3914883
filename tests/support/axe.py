"""axe-core, which finds what people with a screen reader, or with weak eyes, stumble over."""

import json
from collections.abc import Sequence
from pathlib import Path

from tests.support.browser import Browser
from tests.support.busmon_process import PROJECT
from tests.support.made_once import made_once, unpack

# A package that has axe-core 4.12.1 in it; of what it needs itself, nothing is used.
PACKAGE = "axe-playwright-python==0.1.8"
MADE = PROJECT / ".cache" / "axe-core-4.12.1"
COLORS = ("color-contrast",)
ALL = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
FOUND = """axe.run({runOnly: %s, resultTypes: ["violations"]}).then((found) => found.violations.map(
    (one) => [one.id, ...one.nodes.map((node) => node.html)].join(" ")))"""


def installed() -> Path:
    """Return axe-core's one file; it is downloaded once, 0.2 MB."""
    made_once(MADE, lambda: unpack(PACKAGE, MADE))
    return MADE / "axe_playwright_python" / "axe.min.js"


def violations(browser: Browser, rules: Sequence[str] = ALL) -> list[str]:
    """Return what is wrong with the page that the browser shows, a line for each rule.

    All rules take more than a second of CPU time.
    """
    if not browser.run("'axe' in window"):
        browser.run(f"{installed().read_text()};0")
    found: list[str] = browser.run(FOUND % json.dumps(rules))
    return found


if __name__ == "__main__":
    installed()
