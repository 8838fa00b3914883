"""The tap in the listener's process: it reports to busmon what the listener did.

It imports nothing else of busmon. The listener's command line names `busmon.tap:Tap`.
"""

from busmon.tap.tap import Tap

__all__ = ["Tap"]
