"""What a configuration file and the environment make, and every way in which they can be wrong."""

from pathlib import Path

import pytest

from busmon.config.load import ConfigError, load
from busmon.config.model import Config

QUEUE = "0b6e1b5c-3d6e-4e5f-8a67-1c2d3e4f5a6b"
OWN = "4ad5a2c6-5f0b-4f4e-9a55-9d7e0f3f5b0e"
SECRET = "tr0ub4dor"
NO_HOST = "no host can have this name: is a part of it empty, or longer than 63 characters?"

MQTT = """
[buses.centos]
type = "mqtt"
rules = "centos"
url = "mqtt://localhost"
client_id = "busmon"
topics = ["git.centos.org/#"]
"""
AMQP = """
[buses.fedora]
type = "amqp"
rules = "packit"
config = "fedora.toml"
"""
STOMP = """
[buses.umb]
type = "stomp"
rules = "all"
brokers = ["localhost:61613"]
destinations = ["/topic/a"]
"""
LISTENER = f"""
amqp_url = "amqp://packit:{SECRET}@localhost/%2Fpublic_pubsub"
[queues.{QUEUE}]
durable = true
auto_delete = false
exclusive = false
arguments = {{}}
[[bindings]]
queue = "packit-Listener"
exchange = "amq.topic"
routing_keys = ["a", "b"]
[[bindings]]
exchange = "zmq.topic"
routing_keys = ["c"]
"""


def read(directory: Path, text: str, **environ: str) -> Config:
    path = directory / "busmon.toml"
    path.write_text(text)
    return load(path, environ)


def problems(directory: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        read(directory, text, **environ)
    assert str(raised.value) == "\n".join(raised.value.problems)
    return raised.value.problems


def in_bus(bus: str, *lines: str) -> str:
    return bus + "\n".join(lines)
