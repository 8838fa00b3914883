"""The recorded files that a command line names: reading them, and showing the progress."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from busmon.sources.recorded.reader import UNREADABLE, lines_of, open_file

STDIN = Path("-")


class Inputs:
    """Yields the name and lines of each file, as far as it can be read.

    `advance` is called with each number of bytes read; of a compressed file, compressed bytes.
    `complete` is False if a file could not be read to its end; standard error says which one.
    """

    def __init__(
        self, files: Sequence[Path], advance: Callable[[int], None] = lambda _bytes: None
    ) -> None:
        self.complete = True
        self._files = files
        self._advance = advance

    def __iter__(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        return ((str(file), self._lines(file)) for file in self._files)

    def _lines(self, path: Path) -> Iterator[bytes]:
        try:
            with _open(path) as file:
                yield from self._advancing(file)
        except UNREADABLE as error:
            self.complete = False
            why = getattr(error, "strerror", None) or error
            complain(f"busmon: {path}: cannot be read to its end: {why}")

    def _advancing(self, file: BinaryIO) -> Iterator[bytes]:
        on_disk = getattr(file, "fileobj", file)  # of a GzipFile, the compressed file
        seekable, before = on_disk.seekable(), 0
        for line in lines_of(file):
            yield line
            if seekable:
                now = on_disk.tell()
                self._advance(now - before)
                before = now


@contextmanager
def progress(total: int, label: str = "Counting") -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal; yield what to call with each number of steps."""
    if not total or not _on_terminal():
        yield lambda _steps: None
        return
    with click.progressbar(
        length=total, label=label, file=sys.stderr, update_min_steps=total // 1000
    ) as bar:
        yield bar.update


def complain(text: str) -> None:
    """Print a line on standard error; a progress bar is drawn again below it."""
    erase = "\r\033[K" if _on_terminal() else ""
    click.echo(f"{erase}{text}", err=True)


def _on_terminal() -> bool:
    return bool(sys.stderr) and sys.stderr.isatty()  # None if the caller closed it


def size(files: Sequence[Path]) -> int:
    """Return the bytes on disk of all files together; a pipe counts as 0."""
    return sum(file.stat().st_size for file in files if file != STDIN)


def _open(path: Path) -> BinaryIO:
    # By number: sys.stdin is None if the caller closed it.
    return os.fdopen(0, "rb", closefd=False) if path == STDIN else open_file(path)
