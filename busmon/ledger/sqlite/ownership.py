"""Whose the ledger's files are. What another user prepared, or can change, is refused."""

import os
import stat
from pathlib import Path

from busmon.ledger.errors import LedgerError

# SQLite's own files beside the first, and the lock. A foreign journal would change the ledger.
SUFFIXES = ("", "-wal", "-shm", "-journal", ".lock")
ROOT = 0  # can change every file anyway


def check(path: str, *, reading: bool = False) -> None:
    """Raise LedgerError if another user may have made or may change a file of the ledger.

    Root may read anyone's. The directory may belong to somebody else and be a symbolic link, as
    in the image, on a volume with `fsGroup`, and with systemd's `DynamicUser`.
    """
    user = os.geteuid()
    given = Path(path).absolute().parent
    real = given.resolve()
    # Who can write to a directory above can put another one in place of the ledger's.
    for directory in dict.fromkeys((given, *given.parents, real, *real.parents)):
        mode = directory.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise LedgerError(
                f"{directory}: every user can write to this directory; take that right away (chmod"
                " o-w), or give the ledger another path"
            )
    for suffix in SUFFIXES:
        file = Path(f"{path}{suffix}")
        if why := _problem(file, None if reading and user == ROOT else user):
            raise LedgerError(f"{file}: {why}")


def create(file: Path) -> None:
    """Create the file, for its owner only, unless it exists; OSError if it cannot be written."""
    os.close(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600))


def _problem(file: Path, user: int | None) -> str | None:
    try:
        found = file.lstat()
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(found.st_mode):
        return f"is a symbolic link; name the file itself: {file.resolve()}"
    if not stat.S_ISREG(found.st_mode):
        return "is no regular file; name another one"
    if found.st_nlink > 1:
        return "has several names (hard links), and SQLite can use only one; copy it instead"
    if user is not None and found.st_uid not in {user, ROOT}:
        return (
            f"belongs to user {found.st_uid}, and busmon runs as user {user}; if you trust it,"
            f" give it to user {user} (chown)"
        )
    if found.st_mode & stat.S_IWOTH:
        return "every user can write to it; if you trust it, take that right away (chmod o-w)"
    return None
