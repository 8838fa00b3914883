"""busmon as it is where it is installed: without the tools of its development."""

import sys

from tests.busmon_process import Busmon

# fedora-messaging imports pytest where it finds it: 6 MiB and 0.2 s that no user has.
WITHOUT_PYTEST = "import sys; sys.modules['pytest'] = None; "
RUN = WITHOUT_PYTEST + "from busmon.cli import main; main(prog_name='busmon')"


def as_installed(busmon: Busmon) -> Busmon:
    """Let this busmon, which is not started yet, run without pytest."""
    assert busmon.argv[:3] == [sys.executable, "-m", "busmon"], busmon.argv
    busmon.argv[1:3] = ["-c", RUN]
    return busmon
