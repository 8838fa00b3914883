# Copyright (c) 2026 The busmon authors. SPDX-License-Identifier: MIT
"""A tap in the listener's process: reports to busmon what the listener did with each message.

`fedora-messaging consume --callback=busmon_tap:Tap` wraps the callback that the listener's file
names in `[consumer_config.busmon]`, and does not change what it does. Its import cannot fail.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import logging
import os
import re
import socket
import threading
import time
import warnings
from collections import deque
from contextvars import ContextVar
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MAX_LENGTH = 255  # characters of an id or a topic in a report
MAX_REPORTS = 10_000  # that wait while busmon does not answer; some 5 MB
BATCH = 200  # reports; with the longest ids and topics still less than busmon accepts
SEND_INTERVAL = 1.0  # seconds
KEEPALIVE_INTERVAL = 10.0  # seconds after which a batch is sent even if it is empty
ANSWER_TIMEOUT = 5.0  # seconds to connect, to send and to answer
MAX_PAUSE_SECONDS = 15.0  # between two attempts; busmon takes the tap for down after 30 s
FLUSH_TIMEOUT = 2.0  # seconds at the end of the process
SETTINGS = {"callback", "passed", "url", "bus", "token", "token_file", "ca"}

# If the listener's code sets up logging again, as Packit's does, loggers that its file does not
# name are disabled, unless their parent is named: here it is fedora-messaging's.
log = logging.getLogger("fedora_messaging.busmon_tap")

# The ids of the Celery tasks that were published for the current message. asyncio's tasks and
# asyncio.to_thread inherit the variable; a thread that the callback starts itself does not.
_published: ContextVar[Any] = ContextVar("busmon_published", default=None)


class Tap:
    """`Tap()` is the listener's callback with the tap, or without it if the tap cannot work."""

    def __new__(cls) -> Any:
        """Return a function, or a coroutine function if the callback is one."""
        from fedora_messaging.config import conf

        tables = conf["consumer_config"]
        table = tables.get("busmon") if isinstance(tables, dict) else None
        settings = table if isinstance(table, dict) else {}
        callback = _load(settings.get("callback"), conf["callback"])
        try:
            reports = Reports(settings)
            if not reports.on_return:
                from celery.signals import after_task_publish

                after_task_publish.connect(_note_task, weak=False, dispatch_uid="busmon_tap")
            reports.start()
            # What is not callable, fedora-messaging refuses, as it would without the tap.
            return tapped(callback, reports) if callable(callback) else callback
        except Exception as error:
            log.exception("the tap reports nothing to busmon: %s", error)
            return callback


def tapped(callback: Any, reports: Reports) -> Any:
    """Return the callback with the tap around each call."""

    def call(message: Any) -> Any:
        with _Watch(message, reports):
            return callback(message)

    async def call_async(message: Any) -> Any:
        with _Watch(message, reports):
            return await callback(message)

    with warnings.catch_warnings():  # fedora-messaging's test is deprecated in Python 3.14
        warnings.simplefilter("ignore", DeprecationWarning)
        library = import_module("asyncio")  # which imports ssl, and that may be broken
        is_async = any(map(library.iscoroutinefunction, (callback, callback.__call__)))
    return call_async if is_async else call


class _Watch:
    """Reports what became of a message. A task that was published makes it passed in any case."""

    def __init__(self, message: Any, reports: Reports) -> None:
        self._reports, self._report = reports, dict[str, Any](id="")
        self._tasks: list[str | None] = []
        try:
            self._report.update(id=message_id(message.id), topic=decode(message.topic)[:MAX_LENGTH])
        except Exception as error:  # noqa: BLE001 - it is logged, once
            reports.lose(1, error)

    def __enter__(self) -> None:
        _published.set(self._tasks)

    def __exit__(self, kind: Any, error: Any, _: object) -> None:
        _published.set(None)
        halts = isinstance(error, import_module("fedora_messaging.exceptions").HaltConsumer)
        done = not kind or (halts and not error.requeue)  # then the message is acknowledged
        passed = self._tasks or (done and self._reports.on_return)
        state = "passed" if passed else "raised" if kind else "dropped"
        self._report.update(state=state, task=next(iter(self._tasks), None))
        self._reports.add(self._report)


def message_id(value: object) -> str:
    """Return a message's id as text, as busmon does: a digest if it is long, empty if none."""
    text = decode(value)
    if len(text) <= MAX_LENGTH:
        return text
    digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=32)
    return f"digest:{digest.hexdigest()}"


def decode(value: object) -> str:
    """Return a short string of AMQP as text. pika leaves one that is not UTF-8 as bytes."""
    text = value.decode(errors="backslashreplace") if isinstance(value, bytes) else value
    return "" if text is None else str(text)


class Reports:
    """The newest reports wait for a thread that sends them. `add` and `lose` never wait long."""

    def __init__(self, settings: dict[str, Any], size: int = MAX_REPORTS) -> None:
        """Raise ValueError if the settings are wrong, OSError if a file cannot be read."""
        url, token, self._tls = *_checked(settings), None
        if url.scheme == "https":
            self._tls = import_module("ssl").create_default_context(cafile=settings.get("ca"))
        self._host, self._port = url.hostname, url.port or (443 if self._tls else 80)
        self._head = (
            f"POST {url.path or '/v1/reports'} HTTP/1.1\r\nHost: {url.netloc}\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
            "Connection: close\r\nContent-Length: "
        )
        self._whose = {"tap": os.urandom(16).hex(), "bus": settings["bus"]}
        self._size, self._process, self._lock = size, os.getpid(), threading.Lock()
        self.waiting: deque[dict[str, Any]] = deque()  # each `at` a monotonic time
        self._since, self._lost, self._seq = time.monotonic(), 0, 0
        self._logged, self._problem = False, ""
        self.on_return = settings.get("passed") == "returned"  # that is passed, without a task
        self._pending: Any = None  # a batch; sent again unchanged: busmon knows its seq
        self._full, self._ending = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="busmon-tap", daemon=True)

    def add(self, report: dict[str, Any]) -> None:
        """Add a report, unless the message has no id: nothing would identify it."""
        if not report["id"] or self._is_forked():
            return
        with self._lock:
            if len(self.waiting) >= self._size:
                self._since = self.waiting.popleft()["at"]
                self._lost += 1
            self.waiting.append({**report, "at": time.monotonic()})
            if len(self.waiting) == BATCH:
                self._full.set()

    def lose(self, number: int, error: Exception | None = None) -> None:
        """Count reports as lost; log the first error that was the reason."""
        if self._is_forked():
            return
        with self._lock:
            self._lost += number
        if error and not self._logged:
            self._logged = True
            log.error("the tap cannot report a message", exc_info=error)

    def take(self, last: bool = False) -> dict[str, Any]:
        """Remove and return a batch of the oldest reports; its times are monotonic."""
        with self._lock:
            taken = [self.waiting.popleft() for _ in range(min(BATCH, len(self.waiting)))]
            if len(self.waiting) < BATCH:
                self._full.clear()
            until = taken[-1]["at"] if self.waiting else time.monotonic()
            span = {"since": self._since, "until": until, "lost": self._lost}
            self._seq, self._since, self._lost = self._seq + 1, until, 0
            return {**span, "seq": self._seq, "last": last and not self.waiting, "reports": taken}

    def start(self) -> None:
        """Send until the process ends."""
        self._thread.start()
        atexit.register(self.stop)

    def stop(self) -> None:
        """Send what is left. Return within `FLUSH_TIMEOUT` seconds, whatever busmon does."""
        if not self._is_forked():
            self._ending.set()
            self._full.set()
            self._thread.join(FLUSH_TIMEOUT)

    def _is_forked(self) -> bool:
        """Return whether this process is a fork of the tap's: no thread sends its reports."""
        if (forked := os.getpid() != self._process) and not self._logged:
            self._logged = True
            log.error("the tap reports nothing to busmon from a forked process")
        return forked

    def _run(self) -> None:
        pause = sent = 0.0
        try:
            while not self._ending.wait(pause):
                self._full.wait(0 if pause else SEND_INTERVAL)
                idle = not self.waiting and not self._pending
                if self._ending.is_set() or (idle and time.monotonic() - sent < KEEPALIVE_INTERVAL):
                    continue
                if self._send(ANSWER_TIMEOUT):
                    pause, sent = 0.0, time.monotonic()
                else:
                    pause = min(max(SEND_INTERVAL, 2 * pause), MAX_PAUSE_SECONDS)
            while (batch := self._send(FLUSH_TIMEOUT, last=True)) and not batch["last"]:
                pass
        except Exception:  # the listener goes on; busmon sees that the tap no longer reports
            log.exception("the tap ends, and reports nothing more to busmon")

    def _send(self, timeout: float, last: bool = False) -> Any:
        """Send a batch, or the pending one again; return it if busmon has taken it."""
        batch = self._pending = self._pending or self.take(last)
        now = time.monotonic()  # clocks differ, so busmon gets seconds before this moment
        ago: dict[str, Any] = {key: now - batch[key] for key in ("since", "until")}
        ago["reports"] = [{**report, "at": now - report["at"]} for report in batch["reports"]]
        content = json.dumps({**batch, **ago, **self._whose}, default=str).encode()
        try:
            problem = "" if self._post(content, timeout) else "refuses these reports; they are lost"
            self._pending = None
        except (OSError, ValueError) as error:
            problem = f"{error}; reports wait"
        if problem and not self._pending:
            self.lose(batch["lost"] + len(batch["reports"]))
        if problem != self._problem:
            level = logging.ERROR if problem else logging.INFO
            log.log(level, "busmon at %s: %s", self._host, problem or "takes reports again")
        self._problem = problem
        return None if problem else batch

    def _post(self, content: bytes, seconds: float) -> bool:
        """Return whether busmon takes a batch; False if it never will, OSError if it may later."""
        deadline = time.monotonic() + seconds  # but nothing interrupts the look-up of the host
        addresses = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        left, answer = memoryview(f"{self._head}{len(content)}\r\n\r\n".encode() + content), b""
        with socket.create_connection((self._host, self._port), seconds / len(addresses)) as plain:
            plain.settimeout(max(deadline - time.monotonic(), 0.001))
            sock = self._tls.wrap_socket(plain, server_hostname=self._host) if self._tls else plain
            with sock:
                while b"\n" not in answer and len(answer) < 4096:
                    sock.settimeout(max(deadline - time.monotonic(), 0.001))
                    if left:
                        left = left[sock.send(left) :]
                    else:
                        answer += sock.recv(4096) or b"\n"
        status = answer[9:12].decode(errors="replace")
        if status not in ("200", "400", "413"):  # 400 and 413: it would refuse this batch again
            raise OSError(f"answered with status {status if status.isdigit() else 'none'}")
        return status == "200"


def _checked(settings: dict[str, Any]) -> tuple[Any, str]:
    """Return the parts of the URL, and the token. No error repeats what may be a password."""
    texts = {key for key, value in settings.items() if isinstance(value, str) and value}
    wrong = sorted(settings.keys() - (texts & SETTINGS) | ({"url", "bus"} - texts))
    if ("token" in texts) == ("token_file" in texts):
        wrong.append("either token or token_file")
    if wrong:
        raise ValueError(f"[consumer_config.busmon]: wrong or missing: {', '.join(wrong)}")
    token = settings.get("token") or Path(settings["token_file"]).read_text("ascii").strip()
    if not re.fullmatch(r"https?://(\[[\da-f:.]+]|[\w.-]+)(:\d+)?(/\S*)?", settings["url"], re.I):
        raise ValueError("url should be http://HOST:PORT/v1/reports, or https://…")
    if settings.get("passed", "task") not in ("task", "returned"):
        raise ValueError('passed should be "task" or "returned"')
    if not token or not token.isascii() or not token.isprintable():
        raise ValueError("the token should be printable ASCII")
    return urlsplit(settings["url"]), token


def _load(*paths: Any) -> Any:
    """Return the callback, an instance of a class; raise what is raised without the tap."""
    from click import ClickException

    texts = [path.strip() for path in paths if isinstance(path, str) and path.count(":") == 1]
    path = next((text for text in texts if text != "busmon_tap:Tap"), None)
    if path is None:
        raise ClickException('[consumer_config.busmon] should have callback = "module:callable"')
    module, name = path.split(":")
    try:
        found = getattr(import_module(module), name)
    except ImportError as error:
        raise ClickException(f"Failed to import the callback module ({error})") from error
    return found() if isinstance(found, type) else found


def _note_task(headers: Any = None, body: Any = None, **_: object) -> None:
    """Note the id of a task that Celery has published for the current message; None without."""
    if (tasks := _published.get()) is not None:
        known = (task for task in (headers, body) if isinstance(task, dict) and "id" in task)
        tasks.append(next((str(task["id"]) for task in known), None))  # protocols 2 and 1
