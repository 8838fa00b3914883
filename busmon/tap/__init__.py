"""The tap in the listener's process: it reports to busmon what the listener did.

It imports nothing else of busmon. The listener's command line names `busmon.tap:Tap`.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """Load `Tap` only for the listener: busmon uses other modules here, without its libraries."""
    if name == "Tap":
        from busmon.tap.tap import Tap

        return Tap
    raise AttributeError(name)
