"""The settings of a bus that is read with AMQP; the rest is in fedora-messaging's file."""

import shlex
from collections.abc import Hashable, Iterator, Set
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from busmon.ledger.ledger import Ledger
from busmon.settings.section import File, Row, Strings
from busmon.settings.units import Seconds
from busmon.sources.amqp import fedora_toml
from busmon.sources.amqp.fedora_toml import EXCHANGE, Binding, FedoraToml
from busmon.sources.base import ConnectionState, Source
from busmon.sources.bus import Bus, Subscription, describe_schemas, describe_tls
from busmon.sources.filters import any_matches
from busmon.sources.listener_queue import DESCRIPTION, ListenerQueue, QueueState
from busmon.sources.recorded.format import Format
from busmon.text import format_items
from busmon.tls import UnusableFile


class AmqpBus(Bus):
    """A bus read with AMQP as Fedora uses it."""

    recorded: ClassVar = Format.FEDORA

    type: Literal["amqp"]
    config: File  # a file of fedora-messaging, usually the listener's
    routing_keys: Strings | None = None  # instead of the bindings
    extra_routing_keys: Strings = ()  # in addition to the bindings
    queue: UUID | None = None
    queue_arguments: dict[str, bool | int | str] = Field(default_factory=dict)
    prefetch: Annotated[int, Field(gt=0, le=65535)] = 1000
    heartbeat: Annotated[Seconds, Field(le=65535)] = 30

    @property
    def divisible(self) -> bool:
        """See Bus: they consume one queue."""
        return True

    def make_source(self, name: str, ledger: Ledger) -> Source:
        """See Bus."""
        from busmon.sources.amqp.source import AmqpSource

        queue = str(self.queue or ledger.own_queue(name))
        return AmqpSource(name, self, queue, received=ledger.has_messages(name))

    def describe(self) -> Iterator[Row]:
        """See Bus; reads fedora-messaging's file again."""
        toml = fedora_toml.read(self.config)
        keys = list(dict.fromkeys(key for _, key in self.bindings(toml)))
        tls = describe_tls(tls=toml.tls, certificate=toml.certificate)
        yield "broker", f"{toml.broker}, vhost {toml.vhost}, {tls}, as {toml.path} says"
        yield "subscribes", format_items(keys, "routing key")
        yield "queue", str(self.queue or "its own, made at the first start")
        yield "listener", DESCRIPTION[self.listener_queue()]
        yield describe_schemas(self)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield what is wrong with fedora-messaging's file, or does not fit to it."""
        try:
            toml = fedora_toml.read(self.config)
        except fedora_toml.UnusableToml as error:
            yield from (("config", problem) for problem in error.problems)
            return
        try:
            if toml.ca or toml.certificate:
                fedora_toml.tls_context(toml)
        except UnusableFile as error:
            yield "config", f"{toml.path}: tls.{error.setting}: {error.why}"
        if str(self.queue) in {queue.lower() for queue in toml.queues}:
            yield (
                "queue",
                f"{self.queue} is the listener's queue in {toml.path}; "
                "consuming from it would steal the listener's messages",
            )
        if not self.bindings(toml):
            key = "config" if self.routing_keys is None else "routing_keys"
            yield key, "leaves nothing to receive: no binding and no routing key"

    def identity(self) -> tuple[str, Hashable] | None:
        """Return the queue: two consumers of one queue would share its messages."""
        if self.queue is None:
            return None
        try:
            toml = fedora_toml.read(self.config)
        except fedora_toml.UnusableToml:  # one of the problems
            return None
        return "queue", (toml.broker.lower(), toml.vhost, self.queue)

    def listener_queue(self) -> ListenerQueue:
        """See Bus; reads fedora-messaging's file again."""
        return fedora_toml.listener_queue(self.config)

    def queue_names(self) -> tuple[str, ...]:
        """See Bus; reads fedora-messaging's file again."""
        return tuple(sorted(fedora_toml.read(self.config).queues))

    def look_at_queues(
        self, connection: ConnectionState, uncounted: Set[str]
    ) -> dict[str, QueueState]:
        """See Bus; reads fedora-messaging's file again."""
        from busmon.sources.amqp.queue_probe import look

        return look(self.config, connection, uncounted)

    def reconsume_command(self) -> str | None:
        """Return fedora-messaging's command, which gets the message from Datagrepper."""
        command = ["fedora-messaging", "--conf", str(self.config), "reconsume"]
        return shlex.join([*command, *fedora_toml.callback_options(self.config)])

    def routing_keys_bound(self) -> tuple[str, ...]:
        """See Bus; reads fedora-messaging's file again."""
        bindings = self.bindings(fedora_toml.read(self.config))
        return tuple(dict.fromkeys(key for _, key in bindings))

    def subscription(self) -> Subscription:
        """See Bus; reads fedora-messaging's file again."""
        keys = frozenset(self.routing_keys_bound())
        return lambda topic: any_matches(keys, topic)

    def bindings(self, toml: FedoraToml) -> tuple[Binding, ...]:
        """Return the bindings of the bus's queue, in order and without duplicates."""
        exchanges = dict.fromkeys(binding.exchange for binding in toml.bindings)
        keys = (*(self.routing_keys or ()), *self.extra_routing_keys)
        bindings = toml.bindings if self.routing_keys is None else ()
        own = (Binding(exchange, key) for key in keys for exchange in exchanges or [EXCHANGE])
        return tuple(dict.fromkeys((*bindings, *own)))
