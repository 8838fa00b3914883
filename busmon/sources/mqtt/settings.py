"""The settings of a bus that is read with MQTT."""

import re
from collections.abc import Hashable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, SecretStr

from busmon.ledger.ledger import Ledger
from busmon.settings.section import Row, checked, split
from busmon.settings.units import Seconds
from busmon.sources.base import Source
from busmon.sources.bus import Bus, Subscription, Tls, describe_tls
from busmon.sources.filters import any_matches, check_overlap
from busmon.sources.recorded.format import Format
from busmon.text import format_address, format_items, parse_address

PORTS = {"mqtt": 1883, "mqtts": 8883}


def parse_url(url: str) -> tuple[str, int]:
    """Return host and port of an `mqtt://` or `mqtts://` URL; ValueError if it is anything else."""
    scheme, _, rest = url.partition("://")
    if "@" in rest:
        raise ValueError("should hold no user and no password: they are username and password")
    if scheme not in PORTS:
        raise ValueError("should begin with mqtt:// or mqtts://")
    address = rest if re.search(r":[0-9]+$", rest) else f"{rest}:{PORTS[scheme]}"
    return parse_address(address, f"{scheme}://host or {scheme}://host:port")


def _check_topic_filter(text: str) -> None:
    levels = text.split("/")
    if not text or "\0" in text:
        raise ValueError("a topic filter should not be empty")
    if "#" in "".join(levels[:-1]) or ("#" in levels[-1] and levels[-1] != "#"):
        raise ValueError(f"{text}: # should stand alone after the last /")
    if any("+" in level and level != "+" for level in levels):
        raise ValueError(f"{text}: + should stand alone between two /")


def _apart(filters: tuple[str, ...]) -> tuple[str, ...]:
    check_overlap(filters, "/")
    return filters


TopicFilters = Annotated[
    tuple[Annotated[str, checked(_check_topic_filter)], ...], AfterValidator(_apart), split
]


class MqttBus(Tls, Bus):
    """A bus read with MQTT."""

    recorded: ClassVar = Format.CENTOS

    type: Literal["mqtt"]
    url: Annotated[str, checked(parse_url)]  # mqtt://host[:1883] or mqtts://host[:8883]
    topics: Annotated[TopicFilters, Field(min_length=1)]
    qos: Annotated[int, Field(ge=0, le=1)] = 1
    client_id: Annotated[str, Field(min_length=1)]
    version: Literal["3.1.1", "5"] = "5"
    username: str | None = None
    password: SecretStr | None = None
    keepalive: Annotated[Seconds, Field(le=65535)] = 30

    @classmethod
    def conflicts(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """See Section."""
        yield from super().conflicts(given)
        if str(given.get("url")).startswith("mqtt://"):
            yield from (
                (key, "needs a url of mqtts://") for key in Tls.model_fields if key in given
            )
        if "password" in given and "username" not in given:
            yield "password", "needs username too"

    def make_source(self, name: str, ledger: Ledger) -> Source:
        """See Bus."""
        from busmon.sources.mqtt.source import MqttSource

        return MqttSource(name, self, received=ledger.has_messages(name))

    def describe(self) -> Iterator[Row]:
        """See Bus."""
        broker = format_address(*parse_url(self.url))
        tls = describe_tls(tls=self.url.startswith("mqtts:"), certificate=self.certificate)
        login = "no password" if self.username is None else "password"
        yield "broker", f"{broker}, MQTT {self.version}, {tls}, {login}"
        yield "subscribes", format_items(self.topics, "topic")
        yield "session", f"persistent, of client {self.client_id}, QoS {self.qos}"

    def subscription(self) -> Subscription:
        """See Bus."""
        filters = frozenset(self.topics)
        return lambda topic: any_matches(filters, topic, "/", "+")

    def identity(self) -> tuple[str, Hashable]:
        """Return the client id: the broker disconnects a client if another one has its id."""
        return "client_id", (parse_url(self.url.lower()), self.client_id)
