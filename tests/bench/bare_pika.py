"""Counts $MESSAGES AMQP messages and does nothing else: `bare_pika URL QUEUE`."""

import os
import sys
from typing import Any

import pika

PREFETCH, ACKNOWLEDGED = 1000, 100  # messages


class Counter:
    """Acknowledges every hundredth message together with those before it."""

    def __init__(self, url: str, queue: str, number: int) -> None:
        self._queue, self._number, self._seen = queue, number, 0
        self.connection = pika.SelectConnection(
            pika.URLParameters(url),
            on_open_callback=self._opened,
            on_close_callback=lambda _connection, reason: sys.exit(str(reason)),
        )

    def _opened(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._consume)

    def _consume(self, channel: Any) -> None:
        channel.basic_qos(prefetch_count=PREFETCH)
        channel.basic_consume(self._queue, self._count)

    def _count(self, channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
        self._seen += 1
        if self._seen % ACKNOWLEDGED == 0 or self._seen == self._number:
            channel.basic_ack(method.delivery_tag, multiple=True)
        if self._seen == self._number:
            print("done", flush=True)


if __name__ == "__main__":
    url, queue = sys.argv[1:]
    Counter(url, queue, int(os.environ["MESSAGES"])).connection.ioloop.start()
