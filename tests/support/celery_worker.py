"""A Celery worker's app, as packit-service's: `python -m …celery_worker BROKER OPTION…`."""

import sys
import time
from typing import Any

from celery import Celery

PROCESS_MESSAGE = "task.steve_jobs.process_message"
OTHER = "task.other"
QUEUE = "short-running"


def make_app(broker: str) -> Celery:
    app = Celery("worker", broker=broker, set_as_current=False)
    app.conf.task_default_queue = QUEUE
    app.conf.broker_connection_retry_on_startup = True

    @app.task(name=PROCESS_MESSAGE, bind=True)
    def process_message(self: Any, do: str = "", event: Any = None, **_: Any) -> None:
        do = do or (event or {}).get("work", "")
        if do == "fail":
            raise ValueError("c4nary")
        if do == "retry" and not self.request.retries:
            raise self.retry(countdown=0)
        if do == "hang":
            time.sleep(60)

    @app.task(name=OTHER)
    def other() -> None:
        pass

    return app


if __name__ == "__main__":
    make_app(sys.argv[1]).worker_main(["worker", *sys.argv[2:]])
