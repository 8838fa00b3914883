"""`python -m busmon`."""

from busmon.cli.main import main

main(prog_name="busmon")
