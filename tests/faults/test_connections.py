"""Connections that fail in each way: every bus through a proxy."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.brokers import wait_until
from tests.support.brokers.activemq import ActiveMQ
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.brokers.proxy import Proxy
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.buses import Bus, proxied, started
from tests.support.busmon_process import Busmon
from tests.support.exposition import counter
from tests.support.streams import Stream, assert_exact, in_mid_stream, publish, standing_still

Proxies = dict[str, Proxy]
NO_LOOKS = "[audit.queue]\nbuses = []"  # at the listener's queue, by connections of their own
# Then silence is noticed soon; but a machine that stands still may end connections, too.
SHORT_BEAT = pytest.mark.parametrize("beat", ["2s"])


@pytest.fixture
def beat() -> str:
    return "20s"


@pytest.fixture
def through(
    rabbitmq: RabbitMQ,
    mosquitto: Mosquitto,
    activemq: ActiveMQ,
    certificates: Certificates,
    tmp_path: Path,
    beat: str,
) -> Iterator[tuple[list[Bus], Proxies]]:
    with proxied(rabbitmq, mosquitto, activemq, certificates, tmp_path, beat) as through:
        yield through
        rabbitmq.delete_queue(queue(through[0]))


@pytest.fixture
def buses(through: tuple[list[Bus], Proxies]) -> list[Bus]:
    return through[0]


@pytest.fixture
def proxies(through: tuple[list[Bus], Proxies]) -> Proxies:
    return through[1]


@pytest.fixture
def busmon(buses: list[Bus], tmp_path: Path) -> Iterator[Busmon]:
    """Each bus has one connection."""
    with started(tmp_path, buses, NO_LOOKS) as busmon:
        yield busmon


def queue(buses: Sequence[Bus]) -> str:
    """Return the name of the AMQP bus's queue."""
    return str(buses[0].settings["queue"])


def connections(proxies: Proxies) -> list[int]:
    return [proxy.accepted for proxy in proxies.values()]


def lost(busmon: Busmon, reason: str) -> list[int]:
    """Return how many connections each bus has lost for this reason."""
    name = "busmon_bus_disconnects_total"
    _, lines = busmon.ask(f"/metrics?name[]={name}")
    found = counter("\n".join(lines) + "\n", name, ["bus"], reason=reason)
    return [found[bus,] for bus in ("fedora", "centos", "durable", "virtual")]


def test_connections_that_are_cut_in_mid_stream_lose_nothing(
    busmon: Busmon, streams: list[Stream], proxies: Proxies
) -> None:
    with in_mid_stream(busmon, streams, all):
        assert connections(proxies) == [1, 1, 1, 1]
        for proxy in proxies.values():
            proxy.cut()
        wait_until(lambda: lost(busmon, "network") == [1, 1, 1, 1], what="each in the metrics")
    assert_exact(busmon, streams)
    assert min(connections(proxies)) > 1


@SHORT_BEAT
@pytest.mark.parametrize(
    "break_it", [Proxy.half_open, Proxy.swallow], ids=["half-open", "black hole"]
)
def test_connections_that_fall_silent_in_mid_stream_lose_nothing(
    busmon: Busmon, streams: list[Stream], proxies: Proxies, break_it: Callable[[Proxy], None]
) -> None:
    """Even if only busmon thinks that they are open, or if nothing comes through any more."""
    with in_mid_stream(busmon, streams, all):
        before, accepted = lost(busmon, "silent"), connections(proxies)
        for proxy in proxies.values():
            break_it(proxy)
        wait_until(lambda: all_more(lost(busmon, "silent"), before), what="each in the metrics")
        for proxy in proxies.values():
            proxy.heal()
    assert_exact(busmon, streams)
    assert all_more(connections(proxies), accepted)


def all_more(now: Sequence[int], before: Sequence[int]) -> bool:
    return all(more > fewer for more, fewer in zip(now, before, strict=True))


@pytest.mark.parametrize("beat", ["10s"])  # nearly as long as the transfer takes
def test_a_slow_connection_is_kept_and_loses_nothing(
    busmon: Busmon, streams: list[Stream], proxies: Proxies
) -> None:
    for proxy in proxies.values():
        proxy.slow(10_000)
    publish(streams, 100)
    assert_exact(busmon, streams)
    assert connections(proxies) == [1, 1, 1, 1]


@SHORT_BEAT
def test_a_process_suspended_for_long_continues_where_it_stopped(
    busmon: Busmon, streams: list[Stream], buses: list[Bus], rabbitmq: RabbitMQ
) -> None:
    with in_mid_stream(busmon, streams, all), standing_still(busmon):
        wait_until(lambda: not rabbitmq.consumer_count(queue(buses)), what="its connection to end")
    assert_exact(busmon, streams)


def test_expired_certificates_are_reported_and_new_ones_are_used(
    busmon: Busmon, streams: list[Stream], proxies: Proxies, certificates: Certificates
) -> None:
    names = {"fedora": "fedora", "centos": "busmon", "virtual": "stomp"}
    try:
        for bus, name in names.items():
            certificates.client(name, expired=True)
            proxies[bus].cut()
        expected = dict.fromkeys(names, "tls")
        wait_until(lambda: busmon.troubles() == expected, what="the certificates in /ready")
        publish(streams, 100)
    finally:
        for name in names.values():
            certificates.client(name)
    assert_exact(busmon, streams)


def test_unresolvable_brokers_are_reported_and_found_again(
    buses: list[Bus],
    streams: list[Stream],
    proxies: Proxies,
    rabbitmq: RabbitMQ,
    tmp_path: Path,
) -> None:
    known, hosts = "127.0.0.1 broker.example\n", tmp_path / "hosts"
    hosts.write_text(known)
    by_name(buses, rabbitmq.url_for_fedora(proxies["fedora"].port), rabbitmq, tmp_path)
    busmon = Busmon(tmp_path, {bus.stream.bus: bus.settings for bus in buses})
    busmon.configure(NO_LOOKS)
    busmon.put_into_environment(LD_PRELOAD="libnss_wrapper.so", NSS_WRAPPER_HOSTS=hosts)
    with busmon:
        busmon.wait_until_ready()
        replace(hosts, "")
        for proxy in proxies.values():
            proxy.cut()
        expected = dict.fromkeys(proxies, "network")
        wait_until(lambda: busmon.troubles() == expected, what="the missing name in /ready")
        publish(streams, 100)
        replace(hosts, known)
        assert_exact(busmon, streams)
    assert connections(proxies) == [2, 2, 2, 2]


def replace(hosts: Path, text: str) -> None:
    """Replace a file at once, with a later time: its reader compares whole seconds."""
    later = hosts.stat().st_mtime + 10
    new = hosts.with_name("new hosts")
    new.write_text(text)
    os.utime(new, (later, later))
    new.replace(hosts)


def by_name(buses: Sequence[Bus], url: str, rabbitmq: RabbitMQ, directory: Path) -> None:
    """Let the buses' settings name the host in place of its address."""
    fedora, centos, *stomp = (bus.settings for bus in buses)
    url = url.replace("localhost", "broker.example")
    fedora["config"] = rabbitmq.fedora_toml(directory / "named.toml", url=url)
    centos["url"] = centos["url"].replace("localhost", "broker.example")
    for bus in stomp:
        bus["brokers"] = [place.replace("127.0.0.1", "broker.example") for place in bus["brokers"]]
