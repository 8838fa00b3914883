"""The shape of the configuration: frozen sections, unknown keys refused, secrets hidden."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo

from busmon.settings.audit import Audit, Silence
from busmon.settings.section import File, Section, Strings, from_directory, split, together
from busmon.settings.units import SIZES, UNITS, Bytes, Seconds, at_least


def host_port(text: str) -> tuple[str, int]:
    """Split `host:port`, with an IPv6 address in brackets; ValueError if it is anything else."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([\w.-]+)):([0-9]{1,5})", text)
    if not match or int(match[3]) > 65535:
        raise ValueError("should be host:port, an IPv6 address in brackets")
    return match[1] or match[2], int(match[3])


MQTT_PORTS = {"mqtt": 1883, "mqtts": 8883}


def mqtt_broker(url: str) -> tuple[str, int]:
    """Return host and port of an `mqtt://` or `mqtts://` URL; ValueError if it is anything else."""
    scheme, _, rest = url.partition("://")
    if "@" in rest:
        raise ValueError("should hold no user and no password: they are username and password")
    if scheme not in MQTT_PORTS:
        raise ValueError("should begin with mqtt:// or mqtts://")
    try:
        return host_port(rest if re.search(r":[0-9]+$", rest) else f"{rest}:{MQTT_PORTS[scheme]}")
    except ValueError:
        raise ValueError(f"should be {scheme}://host or {scheme}://host:port") from None


def _checked(check: Callable[[str], object]) -> AfterValidator:
    """Refuse a text on which `check` raises ValueError, and keep it as it is."""

    def validate(text: str) -> str:
        check(text)
        return text

    return AfterValidator(validate)


def _topic_filter(text: str) -> None:
    levels = text.split("/")
    if not text or "\0" in text:
        raise ValueError("a topic filter should not be empty")
    if "#" in "".join(levels[:-1]) or ("#" in levels[-1] and levels[-1] != "#"):
        raise ValueError(f"{text}: # should stand alone after the last /")
    if any("+" in level and level != "+" for level in levels):
        raise ValueError(f"{text}: + should stand alone between two /")


def _destination(text: str) -> None:
    if not re.fullmatch(r"/[^/]+/.+", text):
        raise ValueError("should be /topic/NAME, /queue/NAME or the like")


def _topic_pattern(text: str) -> None:
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise ValueError(f"should be a regular expression: {error}") from None
    if groups != 1:
        raise ValueError(f"should have exactly one group, which is the topic, not {groups}")


def _different(items: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(items)) < len(items):
        raise ValueError("should all be different")
    return items


def _rules(text: str) -> None:
    name = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
    if not re.fullmatch(rf"packit|centos|all|{name}:{name}", text):
        raise ValueError("should be packit, centos, all or module:callable")


TopicFilters = Annotated[tuple[Annotated[str, _checked(_topic_filter)], ...], split]
Addresses = Annotated[tuple[Annotated[str, _checked(host_port)], ...], split]
Destinations = Annotated[
    tuple[Annotated[str, _checked(_destination)], ...], AfterValidator(_different), split
]
Files = Annotated[tuple[File, ...], split]


class Web(Section):
    """`[web]`: where /metrics and the health checks are served, and to whom."""

    listen: Annotated[str, _checked(host_port)] = "127.0.0.1:12876"
    certificate: File | None = None
    key: File | None = None
    client_ca: File | None = None
    token: SecretStr | None = None
    username: str | None = None
    password: SecretStr | None = None

    @classmethod
    def conflicts(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """See Section."""
        yield from together(given, "certificate", "key")
        yield from together(given, "username", "password")
        if "client_ca" in given and not given.keys() & {"certificate", "key"}:
            yield "client_ca", "needs certificate and key too"
        if "token" in given and given.keys() & {"username", "password"}:
            yield "token", "should not be given together with username and password"


def _ledger_path(path: str, info: ValidationInfo) -> str:
    return path if path == ":memory:" else str(from_directory(Path(path), info))


class LedgerSettings(Section):
    """`[ledger]`: where it is kept, how long and how large."""

    path: Annotated[str, Field(min_length=1), AfterValidator(_ledger_path)] = (
        "/var/lib/busmon/ledger.sqlite"
    )
    # Less could forget messages that a broker has yet to send again.
    retention: Annotated[Seconds, at_least(1, "h")] = 7 * UNITS["d"]
    size_limit: Annotated[Bytes, at_least(16, "MiB")] = SIZES["GiB"]


class PackitRules(Section):
    """`[rules.packit]`: the listener's own settings that its filters depend on."""

    user: str = "packit"
    project: str = "packit"


class Rules(Section):
    """`[rules]`: parameters of the rule books."""

    packit: PackitRules = PackitRules()


class Limits(Section):
    """`[limits]`: what bounds the number of series."""

    unknown_topics: Annotated[int, Field(ge=0)] = 200


class Log(Section):
    """`[log]`: what is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Bus(Section):
    """What every `[buses.NAME]` has."""

    rules: Annotated[str, _checked(_rules)]


class AmqpBus(Bus):
    """A bus read with fedora-messaging."""

    type: Literal["amqp"]
    config: File  # of fedora-messaging
    routing_keys: Strings | None = None  # instead of the bindings
    extra_routing_keys: Strings = ()  # beside the bindings
    queue: UUID | None = None
    prefetch: Annotated[int, Field(gt=0, le=65535)] = 1000
    heartbeat: Annotated[Seconds, Field(le=65535)] = 30


class Tls(Section):
    """Certificates of a client."""

    ca: File | None = None
    certificate: File | None = None
    key: File | None = None

    @classmethod
    def conflicts(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """See Section."""
        yield from together(given, "certificate", "key")


class MqttBus(Bus, Tls):
    """A bus read with MQTT."""

    type: Literal["mqtt"]
    url: Annotated[str, _checked(mqtt_broker)]  # mqtt://host[:1883] or mqtts://host[:8883]
    topics: Annotated[TopicFilters, Field(min_length=1)]
    subtopics: Strings = ()  # prefixes of what follows the topic's first "/"; none: all
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


class StompBus(Bus, Tls):
    """A bus read with STOMP, from ActiveMQ or RabbitMQ.

    RabbitMQ makes a new `message-id` for each delivery, so there `amqp-message-id`
    stands in, and where the publisher gave none, the content and `redelivered`.
    """

    type: Literal["stomp"]
    brokers: Annotated[Addresses, Field(min_length=1)]  # the next where one fails
    tls: bool = False
    vhost: str | None = None  # RabbitMQ's is "/" where nobody made another
    login: str | None = None
    passcode: SecretStr | None = None
    destinations: Annotated[Destinations, Field(min_length=1)]
    client_id: Annotated[str, Field(min_length=1)] | None = None  # makes subscriptions durable
    ack: Literal["client", "client-individual"] = "client"
    prefetch: Annotated[int, Field(gt=0, le=32767)] = 1000  # ActiveMQ's largest
    heartbeat: Seconds = 10
    id_header: Annotated[str, Field(min_length=1)] = "message-id"
    # ActiveMQ's, on a VirtualTopic's copy; `destination` where a message has no such header.
    topic_header: Annotated[str, Field(min_length=1)] = "original-destination"
    # Its one group is the topic; a VirtualTopic's is the same whichever way it is read.
    topic_pattern: Annotated[str, _checked(_topic_pattern)] = (
        r"^/(?:topic|queue|exchange/[^/]+)/(?:Consumer\..+?\.(?=VirtualTopic\.))?(.+)$"
    )

    @classmethod
    def conflicts(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """See Section."""
        yield from super().conflicts(given)
        yield from together(given, "login", "passcode")
        if str(given.get("tls", False)).lower() == "false":
            yield from ((key, "needs tls = true") for key in Tls.model_fields if key in given)


class ReplayBus(Bus):
    """Recorded messages in place of a bus."""

    type: Literal["replay"]
    files: Annotated[Files, Field(min_length=1)]
    # Messages a second; without it all at once.
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


AnyBus = Annotated[AmqpBus | MqttBus | StompBus | ReplayBus, Field(discriminator="type")]

BusName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]


class Config(Section):
    """The whole configuration."""

    web: Web = Web()
    ledger: LedgerSettings = LedgerSettings()
    rules: Rules = Rules()
    limits: Limits = Limits()
    log: Log = Log()
    silence: Silence = Silence()
    audit: Audit = Audit()
    buses: Annotated[dict[BusName, AnyBus], Field(min_length=1)]
