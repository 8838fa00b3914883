"""What each source defines, in a module that loads no client library.

A source derives the settings of its `[buses.NAME]` from `Bus`. The methods are what the
rest of busmon asks of any source.
"""

import ssl
from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping, Set
from typing import Any, ClassVar

from busmon.ledger.ledger import Ledger
from busmon.rules import SCHEMA_PACKAGES
from busmon.settings.section import File, Row, Section, together
from busmon.sources import schema_packages
from busmon.sources.base import ConnectionState, Source
from busmon.sources.listener_queue import ListenerQueue, QueueState
from busmon.sources.recorded.format import Format
from busmon.tls import UnusableFile, client_context

Subscription = Callable[[str], bool]  # whether messages of a topic come to busmon


class Bus(Section):
    """The settings of one bus, whatever its source."""

    # The format of recorded lines that are replayed as messages of such a bus, if any.
    recorded: ClassVar[Format | None] = None

    type: str
    rules: str  # the name of a rule set

    @property
    def divisible(self) -> bool:
        """Whether several busmons can receive from it, each message by one of them."""
        return False

    @abstractmethod
    def make_source(self, name: str, ledger: Ledger) -> Source:
        """Return the source. Only this imports the client library."""

    @abstractmethod
    def describe(self) -> Iterator[Row]:
        """Yield what `busmon check-config` shows of the bus."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield setting and problem for what only this source can check."""
        yield from ()

    def identity(self) -> tuple[str, Hashable] | None:
        """Return the setting by which its broker knows the bus, and broker and value as one key.

        No two buses may have the same key. None if the broker needs no such setting.
        """
        return None

    def listener_queue(self) -> ListenerQueue:
        """Return whether the listener's queue outlives its connection."""
        return ListenerQueue.UNKNOWN

    def queue_names(self) -> tuple[str, ...]:
        """Return the names of the listener's queues, if a file of the listener says them."""
        return ()

    def look_at_queues(
        self,
        connection: ConnectionState,  # noqa: ARG002 - for sources whose listeners have queues
        uncounted: Set[str],  # noqa: ARG002 - for those, too
    ) -> dict[str, QueueState]:
        """Return the state of each of these queues, as the broker says it now.

        It makes a connection of its own, of which `connection` says when to stop, and changes
        nothing at the broker. Of the queues in `uncounted`, messages and consumers are not asked
        for: counting renews the time after which an unused queue expires. Raises Disconnected,
        and Stopped.
        """
        return {}

    def routing_keys_bound(self) -> tuple[str, ...] | None:
        """Return the routing keys of busmon's queue, so that an archive can be asked the same.

        None if the ids that the source gives messages are not those of an archive.
        """
        return None

    def subscription(self) -> Subscription | None:
        """Return to which topics busmon subscribes; None if that is not known beforehand."""
        return None

    def reconsume_command(self) -> str | None:
        """Return the command with which the listener consumes a message again; its id follows.

        None if no archive has the messages of the bus.
        """
        return None


class Tls(Section):
    """The certificates of a client. It comes before `Bus` in the bases, for its `problems`."""

    ca: File | None = None
    certificate: File | None = None
    key: File | None = None

    @classmethod
    def conflicts(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """See Section."""
        yield from together(given, "certificate", "key")

    def tls_context(self) -> ssl.SSLContext:
        """Return the context of a connection; raises UnusableFile."""
        return client_context(self.ca, self.certificate, self.key)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield why the certificates cannot be used. It costs a few milliseconds."""
        try:
            if self.ca or self.certificate:
                self.tls_context()
        except UnusableFile as error:
            yield error.setting, error.why


def subscriptions(buses: Mapping[str, Bus]) -> dict[str, Subscription]:
    """Return the subscriptions of the buses of which they are known."""
    known = ((name, bus.subscription()) for name, bus in buses.items())
    return {name: subscription for name, subscription in known if subscription is not None}


def describe_schemas(bus: Bus) -> Row:
    """Return by which packages the schemas of Fedora's messages are checked."""
    return "schemas", schema_packages.describe(SCHEMA_PACKAGES.get(bus.rules, ()))


def describe_tls(*, tls: bool, certificate: object) -> str:
    """Return "no TLS", "TLS" or "TLS with client certificate"."""
    if not tls:
        return "no TLS"
    return "TLS with client certificate" if certificate else "TLS"
