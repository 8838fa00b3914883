"""The wire tap in the listener's process: it reports what the listener did.

It imports nothing else of busmon. The listener's configuration names `busmon.tap:Tap`.
"""

from busmon.tap.tap import Tap

__all__ = ["Tap"]
