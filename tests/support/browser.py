"""A real Chromium without a display, driven over its debugging port as a person uses it."""

import json
import shutil
from base64 import b64decode
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

from websocket import WebSocket, create_connection

from tests.support.brokers import Server, wait_until

OPTIONS = (
    "--headless",
    "--no-sandbox",  # root needs that
    "--disable-gpu",
    "--disable-dev-shm-usage",  # a container has little of it
    "--disable-background-networking",
    "--disable-extensions",
    "--no-first-run",
    "--force-prefers-reduced-motion",
    "--remote-debugging-port=0",  # any
)
ANSWER_SECONDS = 120
CENTER = """(() => {
    const found = %s;
    if (!found) return null;
    found.scrollIntoView({block: "center", inline: "center"});
    const {x, y, width, height} = found.getClientRects()[0];  // of its first line
    return [x + width / 2, y + height / 2];
})()"""
# What has this name, or else this in its name, as a person or a screen reader reads it.
NAMED = """((name) => {
    const all = [...document.querySelectorAll("main a, main button, main summary, a, label")];
    const named = all.map((one) => [(one.ariaLabel ?? one.innerText).trim(), one]);
    return (named.find(([own]) => own === name) ?? named.find(([own]) => own.includes(name)))?.[1];
})(%s)"""
LABELLED = '[...document.querySelectorAll("label")].find((one) => one.innerText.includes(%s))'


class Browser:
    """One tab. Use it in a `with`; its profile is in `directory`."""

    def __init__(self, directory: Path) -> None:
        program = shutil.which("chromium") or "chromium-browser"
        self._server = Server(
            [program, *OPTIONS, f"--user-data-dir={directory}/profile", "about:blank"],
            directory / "chromium.log",
            env={"HOME": str(directory)},
            ready=lambda server: server.logged("DevTools listening on ws://"),
        )
        self._number = 0
        self._loaded = 0
        self.problems: list[str] = []  # what the console has: errors, violations of the policy

    def __enter__(self) -> Self:
        self._server.start()
        address = self._server.output().split("DevTools listening on ws://")[1].split("/")[0]
        (url,) = wait_until(lambda: _tabs(address), ANSWER_SECONDS, "the tab")
        # Chromium refuses those that name an origin.
        self._socket: WebSocket = create_connection(url, ANSWER_SECONDS, suppress_origin=True)
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        # Else the end of loading about:blank could be taken for that of the first page.
        complete = 'document.readyState === "complete"'
        wait_until(lambda: self.run(complete), ANSWER_SECONDS, "about:blank")
        return self

    def __exit__(self, *_: object) -> None:
        with closing(self._socket):
            self._server.kill()

    def call(self, method: str, **parameters: object) -> Any:
        """Call a method of the protocol, and return its result."""
        self._number += 1
        request = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(request))
        while (answer := self._received()).get("id") != self._number:
            pass
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def run(self, script: str) -> Any:
        """Return the value of an expression of the page's JavaScript."""
        result = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def before_each_page(self, script: str) -> None:
        """Run this in each page before the page's own scripts."""
        self.call("Page.addScriptToEvaluateOnNewDocument", source=script)

    def open(self, url: str) -> None:
        """Type an address, and wait until the page is there."""
        self._loads(lambda: self.call("Page.navigate", url=url))

    def follow(self, name: str) -> None:
        """Click on the link or button that has this in its name, and wait for the page."""
        self._loads(lambda: self.click(name))

    def click(self, name: str) -> None:
        """Click with the mouse on the middle of what has this in its name."""
        self._click(NAMED % json.dumps(name), name)

    def fill(self, label: str, text: str) -> None:
        """Click on the field with this label, and type into it."""
        self._click(f"{LABELLED % json.dumps(label)}?.control", label)
        self.call("Input.insertText", text=text)

    def press_enter(self) -> None:
        """Press Enter where the focus is, and wait for the page."""
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}

        def press() -> None:
            self.call("Input.dispatchKeyEvent", type="keyDown", **key)
            self.call("Input.dispatchKeyEvent", type="keyUp", **key)

        self._loads(press)

    def show(self, width: int, height: int, scheme: str) -> None:
        """Let the window have this size in pixels, and prefer `light` or `dark`."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def picture(self, path: Path) -> None:
        """Save what the window shows, as PNG."""
        picture = self.call("Page.captureScreenshot", optimizeForSpeed=True)
        path.write_bytes(b64decode(picture["data"]))

    def _click(self, element: str, name: str) -> None:
        center = self.run(CENTER % element)
        assert center, f"{name} is not on {self.run('location.href')}"
        at = {"x": center[0], "y": center[1], "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, **at)

    def _loads(self, does: Callable[[], object]) -> None:
        before = self._loaded
        does()
        while self._loaded == before:
            self._received()

    def _received(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._socket.recv())
        match message.get("method"):
            case "Page.loadEventFired":
                self._loaded += 1
            case "Log.entryAdded":
                entry = message["params"]["entry"]
                self.problems.append(f"{entry['level']}: {entry['text']} {entry.get('url', '')}")
            case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" as kind:
                self.problems.append(f"{kind}: {message['params']}")
        return message


def _tabs(address: str) -> list[str]:
    """Return the URL for debugging of each tab."""
    with urlopen(f"http://{address}/json/list", timeout=ANSWER_SECONDS) as answer:
        return [one["webSocketDebuggerUrl"] for one in json.load(answer) if one["type"] == "page"]
