"""Counts $MESSAGES of STOMP and does nothing else: `bare_stomp PORT DESTINATION`."""

import os
import sys
import time
from typing import Any

import stomp

PREFETCH, ACKNOWLEDGED = 1000, 100  # messages


class Counter(stomp.ConnectionListener):  # type: ignore[misc]  # has no type hints
    """Acknowledges every hundredth message together with those before it."""

    def __init__(self, connection: Any, number: int) -> None:
        self._connection, self._number, self._seen = connection, number, 0

    def on_receipt(self, _frame: Any) -> None:
        print("subscribed", flush=True)

    def on_message(self, frame: Any) -> None:
        self._seen += 1
        if self._seen % ACKNOWLEDGED == 0 or self._seen == self._number:
            self._connection.ack(frame.headers["ack"])
        if self._seen == self._number:
            print("done", flush=True)


def consume(port: int, destination: str, number: int) -> None:
    connection = stomp.Connection12([("127.0.0.1", port)], auto_decode=False)
    connection.set_listener("counter", Counter(connection, number))
    connection.connect(wait=True)
    headers = {"activemq.prefetchSize": str(PREFETCH), "receipt": "subscribed"}
    connection.subscribe(destination, id="1", ack="client", headers=headers)
    while connection.is_connected():
        time.sleep(1)


if __name__ == "__main__":
    port, destination = sys.argv[1:]
    consume(int(port), destination, int(os.environ["MESSAGES"]))
