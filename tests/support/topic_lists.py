"""The lists of topics that people keep by hand, in the shape of Packit's."""

import json
from collections.abc import Sequence
from pathlib import Path

from busmon.commands.lint import TOPICS

PREFIX = "org.fedoraproject.prod."
EVENTS = [topic.removeprefix(PREFIX) for topic in TOPICS]


def written(directory: Path, place: str, lines: Sequence[str]) -> Path:
    """Write the lines to a file in the directory, and return the directory."""
    path = directory / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))
    return directory


def listener_source(directory: Path, topics: Sequence[str], place: str = "callbacks.py") -> Path:
    """Code in the shape of the listener's, which must not be run."""
    lines = [
        "import nowhere",
        "raise SystemExit",
        "def get_callback(topic): return MAPPING.get(topic)",
        "MAPPING = {",
        *(f'    "{topic}": nowhere.callback,' for topic in topics),
        "}",
    ]
    return written(directory, place, lines)


def worker_source(directory: Path, events: Sequence[str], place: str = "parser.py") -> Path:
    """Code in the shape of the worker's, with events of other sources."""
    lines = [
        "import nowhere",
        "class Parser:",
        "    MAPPING: nowhere.Table = {",
        '        "github": {"push": nowhere.push},',
        '        "fedora-messaging": {',
        *(f'            "{event}": (nowhere.parse.__func__),' for event in events),
        "        },",
        "    }",
    ]
    return written(directory, place, lines)


def fedora_toml(directory: Path, topics: Sequence[str]) -> Path:
    """As in the listener's own deployment: its certificates are not here."""
    path = directory / "fedora.toml"
    path.write_text(f"""
amqp_url = "amqps://listener@broker.example"
[tls]
ca_cert = "/nowhere/ca.pem"
certfile = "/nowhere/cert.pem"
keyfile = "/nowhere/key.pem"
[[bindings]]
exchange = "amq.topic"
routing_keys = {json.dumps(list(topics))}
""")
    return path
