"""axe-core, which finds what people with a screen reader, or with weak eyes, stumble over."""

import fcntl
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.browser import Browser
from tests.support.busmon_process import PROJECT

# A package that has axe-core 4.12.1 in it; of what it needs itself, nothing is used.
PACKAGE = "axe-playwright-python==0.1.8"
MADE = PROJECT / ".cache" / "axe-core-4.12.1"
COLORS = ("color-contrast",)
ALL = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
FOUND = """axe.run({runOnly: %s, resultTypes: ["violations"]}).then((found) => found.violations.map(
    (one) => [one.id, ...one.nodes.map((node) => node.html)].join(" ")))"""


def installed() -> Path:
    """Return axe-core's one file; it is downloaded once, 0.2 MB."""
    MADE.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{MADE}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another worker of the tests may be at it
        script = MADE / "axe_playwright_python" / "axe.min.js"
        if not script.exists():
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
            subprocess.run([*pip, "--target", MADE, PACKAGE], check=True)
    return script


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
