"""Recorded messages, and what a source hands over of them."""

import json
from collections.abc import Sequence
from typing import Any

from busmon.message import Message

COPR = {"topic": "org.fedoraproject.prod.copr.build.end", "id": "one", "body": {"user": "packit"}}
PUSH = {"topic": "git.centos.org/git.receive", "payload": {"agent": "alice"}}


def lines(*records: Any) -> list[bytes]:
    return [json.dumps(record).encode() + b"\n" for record in records]


class Taken(list[Message]):
    """Keeps every message, and the size of each batch."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, messages: Sequence[Message]) -> None:
        self.extend(messages)
        self.batches.append(len(messages))
