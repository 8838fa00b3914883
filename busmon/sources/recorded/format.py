"""The formats of recorded messages."""

from enum import StrEnum


class Format(StrEnum):
    """The format of a line. A bus without configuration has the name of its format."""

    FEDORA = "fedora"  # what `fedora-messaging record` writes: topic, headers, id, body
    CENTOS = "centos"  # {"topic", "payload"}
    BAD = "bad"  # neither


# The rule set for the messages of a format, if none is configured. A bad line has none.
RULES = {Format.FEDORA: "packit", Format.CENTOS: "centos"}
