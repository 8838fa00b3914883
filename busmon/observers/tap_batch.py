"""What the tap in the listener's process sends: a batch of reports, as JSON."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Text = Annotated[str, Field(min_length=1, max_length=255)]
SecondsAgo = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Number = Annotated[int, Field(ge=0, le=2**53)]


class ReportedMessage(BaseModel):
    """What the listener did with a message."""

    model_config = ConfigDict(strict=True, frozen=True)

    id: Text
    topic: Annotated[str, Field(max_length=255)]
    state: Literal["passed", "dropped", "raised"]
    task: Text | None = None  # the first that was published


class ReportBatch(BaseModel):
    """All reports of one tap from `since` to `until`, in their order."""

    model_config = ConfigDict(strict=True, frozen=True)

    tap: Text  # one process of the listener
    seq: Annotated[int, Field(ge=1, le=2**53)]  # counts up from 1; the same when sent again
    bus: Text
    since: SecondsAgo  # seconds before it was sent
    until: SecondsAgo
    lost: Number  # reports before `since` that the tap could not keep
    last: bool = False  # the process ends, and has reported everything
    reports: Annotated[list[ReportedMessage], Field(max_length=1000)]


class Malformed(Exception):
    """Not a batch of reports. The text says where, and repeats nothing of the content."""


def parse(content: bytes) -> ReportBatch:
    """Return the batch; raises Malformed."""
    try:
        return ReportBatch.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(key) for key in first["loc"])
        raise Malformed(f"{place}: {first['type']}" if place else first["type"]) from None
