"""Draw the first page of `busmon demo` for the README: `python -m tests.web.picture`."""

import sys
import tempfile
from base64 import b64decode
from pathlib import Path

from tests.support.brokers import Server, wait_until
from tests.support.browser import Browser
from tests.support.busmon_process import PROJECT

PICTURE = PROJECT / ".github" / "overview.png"
SIZE = 1280, 860


def main() -> None:
    """Start a demo, and wait until it knows what is silent."""
    with tempfile.TemporaryDirectory(prefix="busmon-picture-") as name:
        directory = Path(name)
        program = [sys.executable, "-m", "busmon", "demo", "--listen", "127.0.0.1:0"]
        demo = Server(
            program,
            directory / "log",
            env={"TMPDIR": name},
            ready=lambda server: server.logged("incidents "),
        )
        with demo, Browser(directory) as browser:
            url = demo.output().split()[0]

            def judged() -> bool:
                browser.open(url)
                return bool(browser.run('document.body.innerText.includes("Fault: a publisher")'))

            browser.show(*SIZE, "light")
            browser.call("Emulation.setScrollbarsHidden", hidden=True)
            wait_until(judged, what="the verdict")
            PICTURE.write_bytes(b64decode(browser.call("Page.captureScreenshot")["data"]))


if __name__ == "__main__":
    main()
