"""Runs the tap on any Python, with stand-ins for what it uses of fedora-messaging and Celery.

    python3.9 tap_runner.py URL_OF_BUSMON TOKEN

runs it with each fault of FAULTS, and as it should be. It prints what the callback returned and
what the tap logged, as JSON. It imports nothing of the tests, and has the grammar of Python 3.9.
"""

from __future__ import annotations

import asyncio
import builtins
import inspect
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

URL, TOKEN = sys.argv[1:]
SETTINGS = {"callback": "own:callback", "url": URL, "bus": "fedora", "token": TOKEN}
busmon_tap: Any = import_module("busmon_tap")
busmon_tap.FLUSH_TIMEOUT = 30.0  # a machine may stand still for longer than the usual 2 s
LOGGER = logging.getLogger("fedora_messaging.busmon_tap")


class Signal:
    """Celery's after_task_publish, as far as the tap needs it."""

    def __init__(self) -> None:
        self.receivers: list[Any] = []

    def connect(self, receiver: Any, **_: Any) -> None:
        self.receivers.append(receiver)

    def send(self, **kwargs: Any) -> None:
        for receiver in self.receivers:
            receiver(sender="a task", **kwargs)


class OddMessage:
    """A message with a topic, but the look at its id raises."""

    topic = "odd message"

    @property
    def id(self) -> str:
        raise ZeroDivisionError


def message(topic: str) -> Any:
    return SimpleNamespace(topic=topic, id=f"id of {topic}")


def callback(message: Any) -> str:
    """Publish a task if the topic says so, and return the topic."""
    topic = str(message.topic)
    if topic == "passed":
        signals.after_task_publish.send(headers={"id": "a task"}, body=())
    if topic == "oddly passed":
        signals.after_task_publish.send(headers=None, body=7)
    return topic


async def coroutine(message: Any) -> str:
    return callback(message) + " by a coroutine"


def marked(message: Any) -> Any:
    return coroutine(message)


# What a decorator can do to its wrapper of a coroutine, and fedora-messaging then awaits that. Only
# the private mark does it, so this is the one place that sets it.
marked._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]  # noqa: SLF001


def stand_in(name: str, **names: Any) -> Any:
    """Make a module that the tap can import."""
    module = sys.modules[name] = ModuleType(name)
    vars(module).update(names)
    return module


conf: dict[str, Any] = {"callback": None, "consumer_config": {"busmon": SETTINGS}}
stand_in("fedora_messaging")
stand_in("fedora_messaging.config", conf=conf)
stand_in("fedora_messaging.exceptions", HaltConsumer=type("HaltConsumer", (Exception,), {}))
click = stand_in("click", ClickException=type("ClickException", (Exception,), {}))
stand_in("celery")
signals = stand_in("celery.signals", after_task_publish=Signal())
stand_in("own", callback=callback, coroutine=coroutine, marked=marked)
usual_import = builtins.__import__


def settings(**changes: Any) -> Any:
    return mock.patch.dict(conf, consumer_config={"busmon": {**SETTINGS, **changes}})


def consumer_config(value: Any) -> Any:
    """Replace the whole table; the listener's callback is in the file, too."""
    return mock.patch.dict(conf, callback="own:callback", consumer_config=value)


@contextmanager
def without_tls() -> Iterator[None]:
    with settings(url="https://busmon"), mock.patch.dict(sys.modules, {"ssl": None}):
        yield


class NoThread(threading.Thread):
    def start(self) -> None:
        raise RuntimeError("can't start new thread")


odd_signal = mock.Mock(connect=mock.Mock(side_effect=TypeError("an odd signal")))
FAULTS = {
    "no settings": lambda: consumer_config({}),
    "settings that are no table": lambda: consumer_config({"busmon": "text"}),
    "no tables at all": lambda: consumer_config("text"),
    "a callback that is a number": lambda: consumer_config({"busmon": {"callback": 7}}),
    "an unknown setting": lambda: settings(tokn="x"),
    "a number": lambda: settings(bus=7),
    "passed is no text": lambda: settings(passed=True),
    "passed is another word": lambda: settings(passed="returns"),
    "no port": lambda: settings(url="http://busmon:port/"),
    "two tokens": lambda: settings(token_file="/nowhere"),
    "no CA": lambda: settings(url="https://busmon", ca="/nowhere"),
    "no TLS": without_tls,
    "no Celery": lambda: mock.patch.dict(sys.modules, {"celery.signals": None}),
    "a Celery without the signal": lambda: mock.patch.dict(vars(signals), clear=True),
    "an odd Celery": lambda: mock.patch.object(signals, "after_task_publish", odd_signal),
    "no thread": lambda: mock.patch("threading.Thread", NoThread),
}


class Handler(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname}: {record.getMessage()}")


@contextmanager
def logged() -> Iterator[list[str]]:
    handler = Handler()
    LOGGER.addHandler(handler)
    yield handler.lines
    LOGGER.removeHandler(handler)


def with_fault(fault: Any) -> tuple[bool, str, list[str]]:
    with fault(), logged() as lines:
        tapped = busmon_tap.Tap()
        return tapped is callback, tapped(message("with a fault")), lines


def without_callback() -> str:
    """Return why a listener ends whose file names the tap as its callback, and no other."""
    named = {key: value for key, value in SETTINGS.items() if key != "callback"}
    table = {"callback": "busmon_tap:Tap", "consumer_config": {"busmon": named}}
    with mock.patch.dict(conf, table):
        try:
            busmon_tap.Tap()
        except click.ClickException as error:
            return str(error)
    return "nothing is wrong"


def forked(tapped: Any) -> Any:
    """Return what a child of the tap's process returns and logs; it ends as processes do."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        with logged() as lines:
            returned = [tapped(message("forked")) for _ in range(2)]
        os.write(writer, json.dumps([returned, lines]).encode())
        sys.exit()
    os.wait()
    return json.loads(os.read(reader, 10_000))


def main() -> None:
    LOGGER.propagate = False
    results: dict[str, Any] = {"faults": {name: with_fault(FAULTS[name]) for name in FAULTS}}
    results["without callback"] = without_callback()
    tapped = busmon_tap.Tap()
    results["returned"] = [tapped(message(to)) for to in ("passed", "dropped", "oddly passed")]
    with settings(passed="returned"), mock.patch.dict(sys.modules, {"celery.signals": None}):
        results["returned without Celery"] = busmon_tap.Tap()(message("without Celery"))
    results["async"] = []
    for name in ("coroutine", "marked"):
        with settings(callback=f"own:{name}"):
            tapped_async = busmon_tap.Tap()
        assert inspect.iscoroutinefunction(tapped_async)
        results["async"].append(asyncio.run(tapped_async(message("passed"))))
    results["forked"] = forked(tapped)
    with logged() as lines:
        results["odd"] = [[tapped(OddMessage()) for _ in range(2)], lines]
    print(json.dumps(results))


main()
