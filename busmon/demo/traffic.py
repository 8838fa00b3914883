"""Made-up traffic for `busmon demo`, decoded in the same way as that of the real buses."""

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from random import Random
from types import MappingProxyType
from typing import Any, Literal, NamedTuple
from uuid import UUID

from busmon.demo.bodies import CENTOS_SHARES, FEDORA_SHARES
from busmon.message import Message
from busmon.sources import fedora_message, json_body, schema_packages
from busmon.sources.base import ConnectionState, MessageHandler
from busmon.sources.recorded.feed import feed

DAMAGED_SHARE = 0.008  # of the messages, which no listener would see
REDELIVERED_SHARE = 0.01
LATE_SHARE = 0.01  # of the messages, which take minutes instead of about a second
REDELIVERABLE_MESSAGES = 50  # the last ones


class WireMessage(NamedTuple):
    """A message as the decoder gets it from the wire."""

    body: bytes
    headers: dict[str, Any]
    encoding: str = "utf-8"


Damage = Callable[[WireMessage], WireMessage]

# Damages to a body, on both buses: not UTF-8, not JSON, not an object.
BODY_DAMAGES: tuple[Damage, ...] = (
    lambda sent: sent._replace(body=b"\xff" + sent.body),
    lambda sent: sent._replace(body=sent.body[:-1]),
    lambda sent: sent._replace(body=b"[" + sent.body + b"]"),
)
# On Fedora's bus also: invalid headers, an encoding that kills the listener, and a body that
# fails Copr's schema, if copr-messaging is installed.
FEDORA_DAMAGES: tuple[Damage, ...] = (
    *BODY_DAMAGES,
    lambda sent: sent._replace(headers=sent.headers | {"fedora_messaging_severity": 99}),
    lambda sent: sent._replace(encoding="no-such-encoding"),
    lambda sent: sent._replace(
        body=b"{}", headers=sent.headers | {"fedora_messaging_schema": "copr.build.end"}
    ),
)


class TrafficSource:
    """An endless bus of made-up messages with every outcome, some of them redelivered.

    `rate` is in messages a second. The same `seed` makes the same messages, except their times.
    `pace` is how much comes of some topics, of what is usual.
    """

    may_end = False

    def __init__(
        self,
        name: str,
        kind: Literal["fedora", "centos"],
        rate: float,
        seed: int | None = None,
        pace: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self.name = name
        self.connection = ConnectionState()
        self.rejections = fedora_message.REJECTIONS if kind == "fedora" else json_body.REJECTIONS
        self._make = self._fedora if kind == "fedora" else self._centos
        self._shares = FEDORA_SHARES if kind == "fedora" else CENTOS_SHARES
        self._damages = FEDORA_DAMAGES if kind == "fedora" else BODY_DAMAGES
        self._rate = rate
        self._pace = pace
        self._rng = Random(seed)  # noqa: S311 - a demonstration, not a secret

    def run(self, handler: MessageHandler) -> None:
        """Hand over messages until stopped."""
        feed(self.messages(), self._rate, self.connection, handler)
        self.connection.stopped()

    def stop(self) -> None:
        """Ask `run` to record its current batch and return."""
        self.connection.stopping.set()

    def messages(self) -> Iterator[Message]:
        """Yield messages without end, each received now."""
        recent: deque[Message] = deque(maxlen=REDELIVERABLE_MESSAGES)
        weights = [share.weight * self._pace.get(share.topic, 1.0) for share in self._shares]
        while True:
            if recent and self._rng.random() < REDELIVERED_SHARE:
                again = self._rng.choice(recent)
                yield again._replace(received_at=time.time(), redelivered=True)
                continue
            (share,) = self._rng.choices(self._shares, weights)
            message = self._make(share.topic, json.dumps(share.make(self._rng)).encode())
            recent.append(message)
            yield message

    def _fedora(self, topic: str, body: bytes) -> Message:
        received_at = time.time()
        headers = {
            "fedora_messaging_schema": "base.message",
            "fedora_messaging_severity": 20,
            "sent-at": datetime.fromtimestamp(received_at - self._delay(), UTC).isoformat(),
        }
        sent = self._damaged(WireMessage(body, headers))
        parsed, rejected = fedora_message.decode(topic, sent.headers, sent.encoding, sent.body)
        return Message(
            bus=self.name,
            id=str(UUID(bytes=self._rng.randbytes(16), version=4)),
            topic=topic,
            received_at=received_at,
            sent_at=fedora_message.sent_at(sent.headers),
            body=parsed,
            size=len(sent.body),
            rejected=rejected,
            unknown_schema=schema_packages.is_unknown(sent.headers),
        )

    def _centos(self, topic: str, body: bytes) -> Message:
        sent = self._damaged(WireMessage(body, {}))
        parsed, unreadable = json_body.parse(sent.body)
        return Message(
            bus=self.name,
            id=blake2b(topic.encode() + sent.body, digest_size=16).hexdigest(),
            topic=topic,
            received_at=time.time(),
            body=parsed,
            size=len(sent.body),
            digest_id=True,
            unreadable=unreadable,
        )

    def _damaged(self, sent: WireMessage) -> WireMessage:
        if self._rng.random() >= DAMAGED_SHARE:
            return sent
        return self._rng.choice(self._damages)(sent)

    def _delay(self) -> float:
        """Return the seconds from sent to received: usually half a second, sometimes minutes."""
        seconds = self._rng.lognormvariate(-0.5, 0.9)
        return seconds * 300 if self._rng.random() < LATE_SHARE else seconds
