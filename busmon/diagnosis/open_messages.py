"""What the evidence says of messages that are still lost, or not confirmed."""

from collections.abc import Iterator

from busmon.diagnosis.facts import BusFacts
from busmon.text import format_number, format_time


def well_now(bus: BusFacts) -> Iterator[str]:
    """Yield that all is well now only, if messages of before are still lost."""
    if messages := sum(one.messages for one in bus.lost):
        number = format_number(messages, "message")
        yield f"all is well now; still lost: {number} of {format_number(bus.windows, 'window')}"


def still_open(bus: BusFacts) -> Iterator[str]:
    """Yield at which stages messages are lost or not confirmed."""
    for one in bus.lost:
        yield (
            f"still lost at the stage {one.stage}: {format_number(one.messages, 'message')}, the"
            f" oldest of the window from {format_time(one.oldest)} (busmon gaps)"
        )
    for stage, messages in bus.unconfirmed:
        yield (
            f"unconfirmed at the stage {stage}: {format_number(messages, 'message')} of times"
            " without data (busmon gaps --unconfirmed)"
        )
