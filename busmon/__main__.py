"""`python -m busmon`."""

from busmon.cli import main

main(prog_name="busmon")
