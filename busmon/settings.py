"""The shape of the configuration: frozen sections, unknown keys refused, secrets hidden."""

import re
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
SIZES = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def _quantity(units: dict[str, int]) -> BeforeValidator:
    def parse(value: object) -> object:
        if not isinstance(value, str):
            return value
        match = re.fullmatch(rf"(\d+) ?({'|'.join(units)})", value)
        if not match:
            named = ", ".join(unit for unit in units if unit)
            raise ValueError(f"should be a number and a unit ({named})")
        return int(match[1]) * units[match[2]]

    return BeforeValidator(parse)


Seconds = Annotated[int, _quantity(UNITS), Field(gt=0)]
Bytes = Annotated[int, _quantity(SIZES), Field(gt=0)]
# From the environment a list comes as one string, its items separated by commas.
Strings = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: value.split(",") if isinstance(value, str) else value),
]
Paths = Annotated[
    tuple[Path, ...],
    BeforeValidator(lambda value: value.split(",") if isinstance(value, str) else value),
]


class Section(BaseModel):
    """A table of the configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Web(Section):
    """`[web]`: where /metrics and the health checks are served, and to whom."""

    listen: str = "127.0.0.1:9810"
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    token: SecretStr | None = None
    username: str | None = None
    password: SecretStr | None = None


class LedgerSettings(Section):
    """`[ledger]`: where it is kept, how long and how large."""

    path: str = "/var/lib/busmon/ledger.sqlite"
    retention: Seconds = 7 * UNITS["d"]
    size_limit: Bytes = SIZES["GiB"]


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

    rules: str


class AmqpBus(Bus):
    """A bus read with fedora-messaging."""

    type: Literal["amqp"]
    config: Path
    routing_keys: Strings | None = None  # instead of the bindings
    extra_routing_keys: Strings = ()  # beside the bindings
    queue: UUID | None = None
    prefetch: Annotated[int, Field(gt=0, le=65535)] = 200
    heartbeat: Seconds = 30


class Tls(Section):
    """Certificates of a client."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class MqttBus(Bus, Tls):
    """A bus read with MQTT."""

    type: Literal["mqtt"]
    url: str  # mqtt://host[:1883] or mqtts://host[:8883]
    topics: Annotated[Strings, Field(min_length=1)]
    subtopics: Strings = ()  # prefixes of what follows the topic's first "/"; none: all
    qos: Literal[0, 1] = 1
    client_id: Annotated[str, Field(min_length=1)]
    version: Literal["3.1.1", "5"] = "5"
    username: str | None = None
    password: SecretStr | None = None
    keepalive: Seconds = 30


class StompBus(Bus, Tls):
    """A bus read with STOMP."""

    type: Literal["stomp"]
    brokers: Annotated[Strings, Field(min_length=1)]  # host:port; the next where one fails
    tls: bool = False
    vhost: str | None = None
    login: str | None = None
    passcode: SecretStr | None = None
    destinations: Annotated[Strings, Field(min_length=1)]
    client_id: str | None = None  # with it, subscriptions to topics are durable
    ack: Literal["client", "client-individual"] = "client"
    prefetch: Annotated[int, Field(gt=0)] = 200
    heartbeat: Seconds = 10
    id_header: str = "message-id"
    topic_header: str = "destination"
    topic_pattern: str = r"^/(?:topic|queue)/(.+)$"  # its group is the topic


class ReplayBus(Bus):
    """Recorded messages in place of a bus."""

    type: Literal["replay"]
    files: Annotated[Paths, Field(min_length=1)]
    rate: Annotated[float, Field(gt=0)] | None = None  # messages a second; none: all at once


AnyBus = Annotated[AmqpBus | MqttBus | StompBus | ReplayBus, Field(discriminator="type")]


class Config(Section):
    """The whole configuration."""

    web: Web = Web()
    ledger: LedgerSettings = LedgerSettings()
    rules: Rules = Rules()
    limits: Limits = Limits()
    log: Log = Log()
    buses: Annotated[dict[str, AnyBus], Field(min_length=1)]
