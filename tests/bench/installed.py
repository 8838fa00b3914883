"""busmon as in the image: without the development tools, with one heap."""

import sys

from tests.support.busmon_process import Busmon

# fedora-messaging imports pytest if it is installed: 6 MiB and 0.2 s that no user has.
WITHOUT_PYTEST = "import sys; sys.modules['pytest'] = None; "
RUN = WITHOUT_PYTEST + "from busmon.cli.main import main; main(prog_name='busmon')"


def as_installed(busmon: Busmon) -> Busmon:
    """Let this busmon, which is not started yet, run as in the image."""
    assert busmon.argv[:3] == [sys.executable, "-m", "busmon"], busmon.argv
    busmon.argv[1:3] = ["-c", RUN]
    busmon.put_into_environment(MALLOC_ARENA_MAX=1)
    return busmon
