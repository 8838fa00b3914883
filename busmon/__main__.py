"""`python -m busmon`."""

from busmon.cli import main

main()
