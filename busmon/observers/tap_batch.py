"""What the tap in the listener's process sends: a batch of reports, as JSON."""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

UNREADABLE = msgspec.MsgspecError, UnicodeDecodeError, RecursionError

Text = Annotated[str, Meta(min_length=1, max_length=255)]
SecondsAgo = Annotated[float, Meta(ge=0, le=1e9)]
Number = Annotated[int, Meta(ge=0, le=10**9)]  # the sum of all must stay below 2**63


class ReportedMessage(msgspec.Struct, frozen=True):
    """What the listener did with a message."""

    id: Text
    topic: Annotated[str, Meta(max_length=255)]
    state: Literal["passed", "dropped", "raised"]
    task: Text | None = None  # the first that was published
    # JSON of the seconds before it was sent. Whatever else it is, the report counts.
    at: msgspec.Raw = msgspec.Raw(b"")

    def age(self) -> float | None:
        """Return how many seconds before it was sent this happened; None if it does not say."""
        with suppress(*UNREADABLE):
            return _age.decode(self.at)
        return None


class ReportBatch(msgspec.Struct, frozen=True):
    """All reports of one tap from `since` to `until`, in their order."""

    tap: Text  # one process of the listener
    seq: Annotated[int, Meta(ge=1, le=2**53)]  # counts up from 1; the same when sent again
    bus: Text
    since: SecondsAgo  # seconds before it was sent
    until: SecondsAgo
    lost: Number  # reports before `since` that the tap could not keep
    reports: Annotated[list[msgspec.Raw], Meta(max_length=1000)]  # JSON, each a ReportedMessage
    last: bool = False  # the process ends, and has reported everything

    def messages(self) -> Iterator[ReportedMessage]:
        """Yield the reports without those that are malformed."""
        for report in self.reports:
            with suppress(*UNREADABLE):
                yield _report.decode(report)


class Malformed(Exception):
    """Not a batch of reports. The text says why, and repeats nothing of the content."""


# They read the fields above and skip all others, without memory for what they skip.
_batch = msgspec.json.Decoder(ReportBatch)
_report = msgspec.json.Decoder(ReportedMessage)
_age = msgspec.json.Decoder(SecondsAgo)


# A backslash in JSON, and what it escapes; the group is half a character of UTF-16.
ESCAPE = re.compile(rb"\\(?:ud[89ab]..\\ud[c-f]..|(ud[89a-f]..)|.)", re.IGNORECASE | re.DOTALL)


def parse(content: bytes) -> ReportBatch:
    """Return the batch; raises Malformed."""
    try:
        return _batch.decode(content)
    except UNREADABLE:
        pass
    try:
        # One report with half a character must not cost the others.
        return _batch.decode(ESCAPE.sub(_whole, content))
    except UNREADABLE as error:
        raise Malformed(str(error)) from None


def _whole(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape[1] else escape[0]
