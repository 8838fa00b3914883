"""The formats of recorded messages."""

from enum import StrEnum


class Format(StrEnum):
    """What a line of a file is."""

    FEDORA = "fedora"  # what `fedora-messaging record` writes: topic, headers, id, body
    CENTOS = "centos"  # {"topic", "payload"}
    BAD = "bad"  # neither
