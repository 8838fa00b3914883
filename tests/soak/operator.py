"""Somebody who reads the pages all the time, and now and then accepts gaps, and reopens them."""

import json
import random
import re
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from html import unescape
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from busmon.web.pages.table import PAGES
from tests.soak.behind import BUS
from tests.soak.busmons import PATIENCE
from tests.support.brokers import wait_until
from tests.support.busmon_process import Busmon
from tests.support.command import busmon as command

NAME, PASSWORD = "alice", "of-alice"
CONFIGURATION = f'[web.operators.{NAME}]\npassword = "{PASSWORD}"\n'
LOGIN = f"Basic {b64encode(f'{NAME}:{PASSWORD}'.encode()).decode()}"
STARTS = [f"/{page.path}" for page in PAGES if not page.has_rest]
PAUSE = 0.5  # seconds between two pages
STEPS = 8  # links that are followed from a page
LINK = re.compile(r'href="(/[^"]*)"')
ACCEPTING = 40  # pages between two acceptances


class Operator(threading.Thread):
    """Reads pages of these busmons until stopped.

    While things fail, an answer may be late or missing, or say that the ledger cannot be used.
    Any other answer that is no page is a `fault`.
    """

    def __init__(self, busmons: Sequence[Busmon], rng: random.Random) -> None:
        super().__init__(name="operator", daemon=True)
        self.read: Counter[str] = Counter()  # by status
        self.faults: list[str] = []
        self._busmons = busmons
        self._rng = rng
        self._stopping = threading.Event()
        self._accepted: int | None = None  # the number of an acceptance

    def run(self) -> None:
        while not self._stopping.is_set():
            self._walk()
            if self._rng.random() < STEPS / ACCEPTING:
                self._decide()

    def stop(self) -> None:
        """Stop, and leave nothing accepted."""
        self._stopping.set()
        self.join()

    def reopen(self) -> None:
        """Take back all that is accepted; of some acceptances the answer was lost."""
        busmon = self._busmons[0]
        options = ("-c", busmon.configuration, "--url", busmon.url)
        for one in json.loads(command("gaps", "accepted", "--json", *options).stdout):
            if one["reverted_by"] is None:
                command("gaps", "reopen", str(one["number"]), *options)

    def look(self) -> None:
        """Read each page once, when all is well; on a busy machine some are too slow at first."""
        for busmon in self._busmons:
            for path in STARTS:
                wait_until(lambda: ask(busmon, path)[0] == 200, PATIENCE, f"{busmon.url}{path}")  # noqa: B023 - now
        assert not self.faults, self.faults
        assert self.is_alive(), "the operator has died"

    def _walk(self) -> None:
        """Follow some links from a page."""
        busmon, path = self._rng.choice(self._busmons), self._rng.choice(STARTS)
        for _ in range(STEPS):
            if self._stopping.wait(PAUSE):
                return
            status, text = ask(busmon, path)
            self._note(busmon, path, status)
            links = [unescape(link) for link in LINK.findall(text)]
            if status != 200 or not links:
                return
            path = self._rng.choice(links)

    def _decide(self) -> None:
        """Accept the messages that the listener dropped, or take that back."""
        busmon = self._rng.choice(self._busmons)
        if self._accepted is None:
            about = {"since": 0, "until": time.time(), "bus": BUS, "stage": "listener"}
            path, asked = "/v1/gaps/accept", about | {"reason": "a soak"}
        else:
            path, asked = "/v1/gaps/reopen", {"acceptance": self._accepted}
        status, text = ask(busmon, path, json.dumps(asked).encode())
        if status == 409:  # it was reopened, but the answer was lost
            self._accepted = None
            return
        self._note(busmon, path, status)
        if status == 200:
            self._accepted = json.loads(text)["number"] if self._accepted is None else None

    def _note(self, busmon: Busmon, path: str, status: int) -> None:
        self.read[str(status)] += 1
        if status not in {0, 200, 503}:
            self.faults.append(f"{busmon.url}{path}: {status}")


def ask(busmon: Busmon, path: str, body: bytes | None = None) -> tuple[int, str]:
    """Return the status and the text of an answer; without one 0."""
    headers = {"Authorization": LOGIN, "Content-Type": "application/json"}
    try:
        with urlopen(Request(busmon.url + path, body, headers), timeout=30) as answer:
            text = answer.read().decode()  # empty: closed in the middle of the head
            return answer.status if text else 0, text
    except HTTPError as error:
        with error:
            return error.code, ""
    except (OSError, HTTPException):
        return 0, ""
