"""What is taken from a configuration file of fedora-messaging."""

import logging
import ssl
from pathlib import Path
from typing import Any

import pytest
from fedora_messaging.config import LazyConfig

from busmon.sources.amqp import fedora_toml
from busmon.sources.amqp.fedora_toml import Binding
from busmon.sources.amqp.settings import AmqpBus
from busmon.sources.listener_queue import ListenerQueue
from tests.config import AMQP, NO_HOST, SECRET, in_bus, problems, read

LISTENERS = {
    "no TOML": ("x", ["Expected '=' after a key in a key/value pair (at end of document)"]),
    "nested too deeply": ("a = " + "[" * 100_000, ["is nested too deeply"]),
    "nested by dots": ("[amqp_url." + "a." * 2_000 + "a]", ["is nested too deeply"]),
    "unknown keys and wrong types": (
        "bogus = 1\nqueues = 1\nbindings = [1]\nclient_properties = 1\ntls = 1",
        [
            "bogus: no such setting",
            "queues: 'queues' must be a dictionary mapping queue names to settings.",
            "bindings: has a value of the wrong type",
            "client_properties: has a value of the wrong type",
            "tls: should be a table",
        ],
    ),
    "a binding to numbers": (
        "[[bindings]]\nexchange = 1\nrouting_keys = [2]",
        ["bindings: exchange, queue and routing_keys should be strings"],
    ),
    "a password that breaks the URL": (
        f"amqp_url = 'amqps://u:{SECRET}#@localhost'",
        ["amqp_url: is refused by pika: check its port and what follows the ?"],
    ),
    "a name that no host can have": (
        "amqp_url = 'amqps://rabbitmq..example.com'",
        [f"amqp_url: {NO_HOST}"],
    ),
    "another protocol": (
        f"amqp_url = 'https://u:{SECRET}@localhost'",
        ["amqp_url: should begin with amqp:// or amqps://"],
    ),
    "half of [tls]": (
        "amqp_url = 'amqps://localhost'\n[tls]\nca_cert = 'nowhere'\ncertfile = 3",
        [
            "tls.ca_cert: nowhere: No such file or directory",
            "tls.certfile: should be a string",
            "tls.keyfile: is missing; fedora-messaging needs all three in [tls]",
        ],
    ),
    "a null character in a path": (
        'amqp_url = "amqps://localhost"\n[tls]\nca_cert = "a\\u0000"\ncertfile = ""\nkeyfile = ""',
        ["tls.ca_cert: should not contain a null character"],
    ),
    "a certificate without a key": (
        "amqp_url = 'amqps://localhost'\n[tls]\nca_cert = ''\ncertfile = 'exists'\nkeyfile = ''",
        ["tls: certfile and keyfile need each other; fedora-messaging ignores one alone"],
    ),
}


@pytest.mark.parametrize(("listener", "expected"), LISTENERS.values(), ids=LISTENERS)
def test_problems_in_fedora_messagings_file_are_listed_with_the_rest(
    directory: Path, listener: str, expected: list[str]
) -> None:
    (directory / "fedora.toml").write_text(listener)
    in_file = [f"buses.fedora.config: fedora.toml: {problem}" for problem in expected]
    assert problems(directory, in_bus(AMQP, "prefetch = 'x'")) == [
        *in_file,
        "buses.fedora.prefetch: should be a whole number",
    ]


def test_fedora_messagings_file_has_its_own_defaults(directory: Path) -> None:
    path = directory / "fedora.toml"
    path.write_text("[client_properties]\napp = 'x'")
    theirs, ours = LazyConfig().load_config(str(path)), fedora_toml.read(path)
    assert ours.amqp_url.get_secret_value() == theirs["amqp_url"]
    assert ours.bindings == (Binding("amq.topic", "#"),)
    assert ours.queues == frozenset()
    assert (ours.broker, ours.vhost, ours.tls) == ("localhost:5672", "/", False)


def test_without_tls_its_files_are_not_needed_as_in_fedora_messaging(
    directory: Path,
) -> None:
    (directory / "fedora.toml").write_text("[tls]\nca_cert = 'nowhere'\ncertfile = 'nowhere'")
    read(directory, AMQP)


def test_reading_fedora_messagings_file_logs_nothing(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    read(directory, AMQP)
    assert caplog.records == []


BINDINGS: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "the file's": ({}, [("amq.topic", "a"), ("amq.topic", "b"), ("zmq.topic", "c")]),
    "replaced": ({"routing_keys": "x"}, [("amq.topic", "x"), ("zmq.topic", "x")]),
    "more": (
        {"extra_routing_keys": "a"},
        [("amq.topic", "a"), ("amq.topic", "b"), ("zmq.topic", "c"), ("zmq.topic", "a")],
    ),
    "replaced, and more": (
        {"routing_keys": [], "extra_routing_keys": ["y"]},
        [("amq.topic", "y"), ("zmq.topic", "y")],
    ),
}


@pytest.mark.parametrize(("settings", "expected"), BINDINGS.values(), ids=BINDINGS)
def test_routing_keys_replace_the_bindings_and_extra_ones_add_to_them(
    directory: Path, settings: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    toml = fedora_toml.read(directory / "fedora.toml")
    bus = AmqpBus(type="amqp", rules="all", config=toml.path, **settings)
    assert list(bus.bindings(toml)) == expected


def test_routing_keys_need_no_binding_in_the_file(directory: Path) -> None:
    (directory / "fedora.toml").write_text("bindings = []")
    toml = fedora_toml.read(directory / "fedora.toml")
    bus = AmqpBus(type="amqp", rules="all", config=toml.path, routing_keys=("a",))
    assert bus.bindings(toml) == (Binding("amq.topic", "a"),)


def queue(name: str, *, auto_delete: bool, exclusive: bool) -> str:
    return (
        f'[queues."{name}"]\ndurable = true\narguments = {{}}\n'
        f"auto_delete = {str(auto_delete).lower()}\nexclusive = {str(exclusive).lower()}\n"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ListenerQueue.TEMPORARY),  # fedora-messaging's own default
        (queue("packit", auto_delete=True, exclusive=True), ListenerQueue.TEMPORARY),
        (queue("a", auto_delete=False, exclusive=True), ListenerQueue.TEMPORARY),
        (queue("a", auto_delete=True, exclusive=False), ListenerQueue.TEMPORARY),
        (queue("", auto_delete=False, exclusive=True), ListenerQueue.TEMPORARY),  # broker's name
        (queue("a", auto_delete=False, exclusive=False), ListenerQueue.PERMANENT),
        (
            queue("a", auto_delete=False, exclusive=False)
            + queue("b", auto_delete=True, exclusive=False),
            ListenerQueue.UNKNOWN,
        ),
        (
            "passive_declares = true\n" + queue("a", auto_delete=True, exclusive=True),
            ListenerQueue.UNKNOWN,
        ),
        ("[queues]", ListenerQueue.UNKNOWN),
    ],
)
def test_whether_the_listeners_queue_outlives_its_connection_is_read(
    tmp_path: Path, text: str, expected: ListenerQueue
) -> None:
    toml = tmp_path / "listener.toml"
    toml.write_text(text)
    assert fedora_toml.listener_queue(toml) is expected


def test_a_url_is_parsed_once_because_pika_loads_all_cas_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []

    def load(*_: object) -> ssl.SSLContext:
        loaded.append("CAs")
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    monkeypatch.setattr(ssl, "create_default_context", load)
    toml = tmp_path / "fedora.toml"
    tls = "ca_cert = ''\ncertfile = ''\nkeyfile = ''"
    toml.write_text(f"amqp_url = 'amqps://once.example.com'\n[tls]\n{tls}")
    assert [fedora_toml.read(toml).broker for _ in range(3)] == ["once.example.com:5671"] * 3
    assert loaded == ["CAs"]
