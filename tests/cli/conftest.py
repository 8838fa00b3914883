"""A configuration for the commands."""

from pathlib import Path

import pytest

FEDORA_TOML = """
amqp_url = "amqp://listener:SECRET@localhost"
[[bindings]]
exchange = "amq.topic"
routing_keys = ["#"]
"""
CONFIGURATION = """
[ledger]
path = "ledger.sqlite"
[rules.packit]
user = "alice"
[limits]
unknown_topics = 0
[buses.koji]
type = "amqp"
rules = "packit"
config = "fedora.toml"
[buses.git]
type = "mqtt"
rules = "all"
url = "mqtt://localhost"
client_id = "busmon"
topics = ["git.centos.org/#"]
username = "busmon"
password = "SECRET"
"""


@pytest.fixture
def secret() -> str:
    return "tr0ub4dor"


@pytest.fixture
def configuration(tmp_path: Path, secret: str) -> Path:
    (tmp_path / "fedora.toml").write_text(FEDORA_TOML.replace("SECRET", secret))
    path = tmp_path / "busmon.toml"
    path.write_text(CONFIGURATION.replace("SECRET", secret))
    return path
