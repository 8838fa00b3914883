"""The settings of a bus that is read with STOMP."""

import re
from collections.abc import Hashable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, SecretStr

from busmon.ledger.ledger import Ledger
from busmon.settings.section import Row, checked, matching, split, together
from busmon.settings.units import Seconds
from busmon.sources.base import Source
from busmon.sources.bus import Bus, Tls, describe_tls
from busmon.sources.filters import check_overlap
from busmon.sources.recorded.format import Format
from busmon.text import format_items, parse_address

Destination = Annotated[
    str, matching(r"/[^/]+/.+", "should be /topic/NAME, /queue/NAME or the like")
]


def _check_topic_pattern(text: str) -> None:
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise ValueError(f"should be a regular expression: {error}") from None
    if groups != 1:
        raise ValueError(f"should have exactly one group, which is the topic, not {groups}")


def _apart(items: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(items)) < len(items):
        raise ValueError("should all be different")
    places: dict[str, list[str]] = {}
    for item in items:
        # A queue gives each message to one subscription only.
        if match := re.match(r"/topic/|/exchange/[^/]+/", item):
            places.setdefault(match[0], []).append(item[match.end() :])
    for names in places.values():
        check_overlap(names, ".")
    return items


Addresses = Annotated[tuple[Annotated[str, checked(parse_address)], ...], split]
Destinations = Annotated[tuple[Destination, ...], AfterValidator(_apart), split]


class StompBus(Tls, Bus):
    """A bus read with STOMP, from ActiveMQ or RabbitMQ.

    `id_header` identifies a message across redeliveries. RabbitMQ makes a new `message-id` for
    each delivery: there the source takes `amqp-message-id`, which the publisher sets. Without
    the header it takes a digest of destination, timestamp and content, and `redelivered`.
    """

    recorded: ClassVar = Format.CENTOS

    type: Literal["stomp"]
    brokers: Annotated[Addresses, Field(min_length=1)]  # if one fails, the next is tried
    tls: bool = False
    vhost: str | None = None  # RabbitMQ has "/" if nobody made another one
    login: str | None = None
    passcode: SecretStr | None = None
    destinations: Annotated[Destinations, Field(min_length=1)]
    client_id: Annotated[str, Field(min_length=1)] | None = None  # makes the subscriptions durable
    ack: Literal["client", "client-individual"] = "client"
    prefetch: Annotated[int, Field(gt=0, le=32767)] = 1000  # the largest number that ActiveMQ takes
    heartbeat: Seconds = 10
    id_header: Annotated[str, Field(min_length=1)] = "message-id"
    # On the copies of a VirtualTopic ActiveMQ writes the topic into `original-destination`. But a
    # publisher can set it, too, and so choose a topic to which it may not write.
    topic_header: Annotated[str, Field(min_length=1)] = "destination"
    # Its one group is the topic. A VirtualTopic has the same one for all ways to read it.
    topic_pattern: Annotated[str, checked(_check_topic_pattern)] = (
        r"^/(?:topic|queue|exchange/[^/]+)/(?:Consumer\..+?\.(?=VirtualTopic\.))?(.+)$"
    )

    @classmethod
    def conflicts(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """See Section."""
        yield from super().conflicts(given)
        yield from together(given, "login", "passcode")
        if str(given.get("tls", False)).lower() == "false":
            yield from ((key, "needs tls = true") for key in Tls.model_fields if key in given)

    @property
    def divisible(self) -> bool:
        """See Bus: they consume one queue. To a topic, each has a subscription of its own."""
        return all(destination.startswith("/queue/") for destination in self.destinations)

    def make_source(self, name: str, _ledger: Ledger) -> Source:
        """See Bus."""
        from busmon.sources.stomp.source import StompSource

        return StompSource(name, self)

    def describe(self) -> Iterator[Row]:
        """See Bus."""
        tls = describe_tls(tls=self.tls, certificate=self.certificate)
        login = "no password" if self.login is None else "password"
        durable = f"durable, of client {self.client_id}" if self.client_id else "not durable"
        yield "broker", f"{' or '.join(self.brokers)}, {tls}, {login}"
        yield "subscribes", format_items(self.destinations, "destination")
        yield "session", f"{durable}, ack {self.ack}"

    def identity(self) -> tuple[str, Hashable] | None:
        """Return the client id, by which the broker knows a durable subscription."""
        if self.client_id is None:
            return None
        return "client_id", (frozenset(broker.lower() for broker in self.brokers), self.client_id)
