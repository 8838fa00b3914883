"""A listener in the shape of packit-service-fedmsg, and others that fedora-messaging allows.

`do` in the body of a message says what to do with it. Each call is noted in a file.
"""

from pathlib import Path
from typing import Any

from celery import Celery
from fedora_messaging.config import conf
from fedora_messaging.exceptions import Drop, HaltConsumer, Nack

TASK = "task.steve_jobs.process_message"
QUEUE = "short-running"


def handle(message: Any) -> None:
    settings = conf["consumer_config"]["listener"]
    calls = Path(settings["calls"])
    again = calls.exists() and message.id in calls.read_text().split()
    with calls.open("a") as file:
        file.write(f"{message.id}\n")
    match message.body.get("do"):
        case "pass":
            publish(settings["celery"], message)
        case "pass to nobody":
            publish("redis://127.0.0.1:9/0", message)
        case "pass, then raise":
            publish(settings["celery"], message)
            raise RuntimeError("too late")
        case "Drop":
            raise Drop("unwanted")
        case "Nack" if not again:
            raise Nack("later")
        case "halt":
            raise HaltConsumer(exit_code=3, reason="enough")
        case "halt, requeue":
            raise HaltConsumer(exit_code=4, reason="enough", requeue=True)
        case "raise":
            raise KeyError("of the filter")
        case "exit":
            raise SystemExit(7)


def publish(broker: str, message: Any) -> None:
    app = Celery(broker=broker)
    kwargs = {"event": message.body, "source": "fedora-messaging", "event_type": message.topic}
    app.send_task(TASK, kwargs=kwargs, queue=QUEUE, task_id=task_id(message.id))


def task_id(message_id: str) -> str:
    return f"task-for-{message_id}"


def function(message: Any) -> None:
    handle(message)


async def coroutine(message: Any) -> None:
    handle(message)


class Consumerino:
    def __init__(self) -> None:
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


instance = Consumerino()
number = 7
