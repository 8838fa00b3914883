"""busmon with other constants: `python -m …constants MODULE:NAME=NUMBER … run -c FILE`.

So a busmon on a busy machine is as patient as a test needs it to be.
"""

import sys
from collections.abc import Mapping
from importlib import import_module

from tests.support.busmon_process import Busmon


def set_constants(busmon: Busmon, constants: Mapping[str, float]) -> None:
    """Let it have these from its next start on, by MODULE:NAME.

    They are set in this order, each when its module is imported; so a module from which another
    one copies its constant comes before that one.
    """
    python, _, _, *arguments = busmon.argv  # PYTHON -m busmon …
    words = (f"{place}={seconds}" for place, seconds in constants.items())
    busmon.argv = [python, "-m", "tests.support.constants", *words, *arguments]


def main() -> None:
    while "=" in sys.argv[1]:
        place, _, number = sys.argv.pop(1).partition("=")
        module, _, name = place.partition(":")
        imported = import_module(module)
        setattr(imported, name, type(getattr(imported, name))(number))
    from busmon.cli.main import main as busmon

    busmon(prog_name="busmon")


if __name__ == "__main__":
    main()
