"""A small share of a core for a process, as a pod's limit gives it: by the kernel's cgroups."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import sleep
from uuid import uuid4

ROOT = Path("/sys/fs/cgroup")
PERIOD = 100_000  # µs, as on Kubernetes


@contextmanager
def held_to(cores: float, pids: Sequence[int]) -> Iterator[None]:
    """Hold each process to so many cores meanwhile. Raises OSError if this machine cannot."""
    with ExitStack() as stack:
        for pid in pids:
            stack.enter_context(_held_to(round(cores * PERIOD), pid))
        yield


@contextmanager
def _held_to(quota: int, pid: int) -> Iterator[None]:
    first = (ROOT / "cpu").is_dir()  # version 1 of cgroups has a tree for each resource
    parent = ROOT / "cpu" if first else ROOT
    group = parent / f"busmon-bench-{uuid4()}"
    if not os.access(parent / "cgroup.procs", os.W_OK):
        raise PermissionError(f"{parent}: needs root")
    group.mkdir()
    try:
        if first:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {PERIOD}")
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        if Path(f"/proc/{pid}").exists():
            (parent / "cgroup.procs").write_text(str(pid))
        while (group / "cgroup.procs").read_text():
            sleep(0.01)
        group.rmdir()
