"""A listener in the shape of packit-service-fedmsg, and others that fedora-messaging allows.

`do` in the body of a message says what to do with it. Each call is noted in a file. It runs on
Python 3.9, too, as the listener's images have it.
"""

import os
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from fedora_messaging.config import conf
from fedora_messaging.exceptions import Drop, HaltConsumer, Nack

with suppress(ImportError):  # a plain listener has no tap
    tap: Any = import_module("busmon_tap")
    if "SHIPPED_FLUSH_TIMEOUT" not in os.environ:
        tap.FLUSH_TIMEOUT = 30.0  # a machine may stand still for longer than the usual 2 s
TASK = "task.steve_jobs.process_message"
QUEUE = "short-running"
NOBODY = "redis://127.0.0.1:9/0"
ERRORS: dict[str, tuple[Any, ...]] = {
    "pass, then raise": (RuntimeError, "too late"),
    "Drop": (Drop, "unwanted"),
    "Nack": (Nack, "later"),
    "halt": (HaltConsumer, 3, "enough"),
    "halt, requeue": (HaltConsumer, 4, "enough", True),
    "raise": (KeyError, "of the filter"),
    "exit": (SystemExit, 7),
}


def handle(message: Any) -> None:
    settings = conf["consumer_config"]["listener"]
    calls = Path(settings["calls"])
    again = calls.exists() and message.id in calls.read_text().split()
    with calls.open("a") as file:
        file.write(f"{message.id}\n")
    do = message.body.get("do")
    if do in {"pass", "pass, then raise"}:
        publish(settings["celery"], message)
    if do == "pass to nobody":
        publish(NOBODY, message)
    if do in ERRORS and not (do == "Nack" and again):
        error, *arguments = ERRORS[do]
        raise error(*arguments)


def publish(broker: str, message: Any) -> None:
    from celery import Celery  # a listener without it has this callback, too

    app = Celery(broker=broker)
    kwargs = {"event": message.body, "source": "fedora-messaging", "event_type": message.topic}
    app.send_task(TASK, kwargs=kwargs, queue=QUEUE, task_id=task_id(message.id))


def task_id(message_id: str) -> str:
    return f"task-for-{message_id}"


def function(message: Any) -> None:
    handle(message)


async def coroutine(message: Any) -> None:
    handle(message)


class Plain:
    def __call__(self, message: Any) -> None:
        handle(message)


class Consumerino:
    def __init__(self) -> None:
        conf.setup_logging()  # again, as packit-service-fedmsg does
        self.handle = handle

    def __call__(self, message: Any) -> None:
        self.handle(message)


class Async:
    async def __call__(self, message: Any) -> None:
        handle(message)


class NoCallback:
    pass


class Unmakeable:
    def __init__(self) -> None:
        raise RuntimeError("no settings")


instance = Plain()
number = 7
