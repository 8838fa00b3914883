"""The container image: built with buildah, and run as OpenShift would run it.

Not every machine can reach the registry of UBI, so a Debian made by debootstrap stands in for
it, by the build argument of the Containerfile.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.support.brokers import Server, free_port, wait_until
from tests.support.exposition import counter

pytestmark = [
    # debootstrap makes device nodes, and chroot uses a user id that an unprivileged user
    # namespace does not have. CI runs as root, so it skips nothing.
    pytest.mark.skipif(os.geteuid() != 0, reason="debootstrap and chroot need root"),
    pytest.mark.timeout(600),  # the first run makes the stand-in; later runs use it
]

PROJECT = Path(__file__).parents[2]
STORAGE = PROJECT / ".cache/images"
DEBIAN = "http://deb.debian.org/debian"
BASE, IMAGE = "localhost/stand-in", "localhost/busmon"
NAMESPACE_USER = 1000770000  # as OpenShift assigns: without a name, in group 0

# What a container engine does for a pod with a read-only root and an emptyDir at /tmp.
# mount can only bind a directory writable, and remount it read-only then.
CONTAINER = """
set -eu
root=$1 user=$2
shift 2
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
exec chroot --userspec="+$user:+0" --groups= "$root" "$@"
"""


@dataclass(frozen=True)
class Image:
    """The image that was built: its root directory and its configuration."""

    root: Path
    config: dict[str, Any]

    def command(self, *arguments: str) -> list[str]:
        """Return the entry point with these arguments, in a container."""
        container = ["unshare", "--mount", "sh", "-c", CONTAINER, "sh", str(self.root)]
        environment = ["/usr/bin/env", "-i", *self.config["Env"]]
        return [
            *[*container, str(NAMESPACE_USER)],
            *[*environment, *self.config["Entrypoint"], *arguments],
        ]


def run(*command: str | Path) -> str:
    """Return what a command prints; if it fails, the error has its standard error, too."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout.strip()


def buildah(command: str, *arguments: str | Path) -> str:
    storage: list[str | Path] = [
        "--storage-driver",
        "vfs",
        "--root",
        STORAGE / "root",
        "--runroot",
        STORAGE / "run",
    ]
    return run("buildah", *storage, command, *arguments)


def debian_mirror() -> str:
    """Return the mirror that this machine's apt uses, or the public one."""
    if not shutil.which("apt-get"):
        return DEBIAN
    wanted = ["Created-By: Packages", "Codename: bookworm", "Component: main"]
    mirrors = run("apt-get", "indextargets", "--format", "$(REPO_URI)", *wanted).split()
    return mirrors[0] if mirrors else DEBIAN


def make_stand_in(directory: Path) -> None:
    root = directory / "root"
    packages = "--include=ca-certificates,python3,python3-venv,python3-pip"
    run("debootstrap", "--variant=minbase", packages, "bookworm", root, debian_mirror())
    archive = directory / "root.tar"
    run("tar", "-C", root, "--exclude=./dev", "--exclude=./var/cache/apt", "-cf", archive, ".")
    container = buildah("from", "scratch")
    buildah("add", container, archive, "/")
    buildah("commit", "--rm", container, BASE)


def pip_of_this_machine(directory: Path) -> Iterator[str]:
    """Yield the options that give pip in the build the same index as pip has here.

    For machines behind a proxy or with an index of their own. Directories of packages are not
    available in the build.
    """
    listed = run(sys.executable, "-m", "pip", "config", "list")
    settings = re.findall(r"(?m)^(?:global|:env:)\.([\w-]+)='(.*)'", listed)
    lines = [
        f"{key} = {value}"
        for key, value in dict(settings).items()
        if "file://" not in value and not Path(value).is_dir()
    ]
    configuration = directory / "pip.conf"
    configuration.write_text("\n".join(["[global]", *lines]))
    yield f"--volume={configuration}:/etc/pip.conf:ro"
    for path in {value for _, value in settings if Path(value).is_file()}:
        yield f"--volume={path}:{path}:ro"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    directory = tmp_path_factory.mktemp("image")
    if BASE not in buildah("images", "--format", "{{.Name}}").split():
        make_stand_in(directory)
    options = [f"--build-arg=BASE={BASE}", *pip_of_this_machine(directory)]
    buildah("build", "--isolation=chroot", *options, f"--tag={IMAGE}", PROJECT)
    container = buildah("from", IMAGE)
    try:
        described = json.loads(buildah("inspect", "--type=image", IMAGE))
        yield Image(Path(buildah("mount", container)), described["OCIv1"]["config"])
    finally:
        buildah("rm", container)
        buildah("rmi", "--force", IMAGE)


def test_the_image_runs_as_any_user_on_a_read_only_root(image: Image, tmp_path: Path) -> None:
    port = free_port()

    def counted() -> int:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return counter(answer.read().decode()).total()

    demo = image.command("demo", "--listen", f"127.0.0.1:{port}")
    with Server(demo, tmp_path / "log", ready=lambda server: server.logged("/metrics")) as busmon:
        wait_until(counted, what="messages of the demo")
        status = Path(f"/proc/{busmon.pid}/status").read_text()
        assert f"Uid:\t{NAMESPACE_USER}\t" in status
        mounts = Path(f"/proc/{busmon.pid}/mountinfo").read_text()
        assert re.search(r" / ro,", mounts)
        assert busmon.terminate() == 0


def test_the_image_starts_the_service_as_no_root(image: Image) -> None:
    assert image.config["User"] == "1001"
    assert image.config["Entrypoint"] + image.config["Cmd"] == ["busmon", "run"]
    ledger = (image.root / "var/lib/busmon").stat()
    assert (ledger.st_gid, ledger.st_mode & 0o777) == (0, 0o770)


def test_the_image_holds_the_locked_versions(image: Image) -> None:
    def versions(frozen: str) -> dict[str, str]:
        pins = re.findall(r"(?m)^([\w.-]+)==(\S+)$", frozen)
        return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins}

    locked = versions((PROJECT / "config/constraints.txt").read_text())
    pip = ["/opt/busmon/bin/python3", "-m", "pip", "freeze", "--exclude", "packit-service-busmon"]
    installed = versions(run("chroot", image.root, *pip))
    # redis needs it only before Python 3.11.3, so the lock may not have it.
    installed.pop("async-timeout", None)
    assert installed.items() <= locked.items()
    [wheel] = image.root.glob("opt/busmon/lib/python3*/site-packages/*busmon-*.dist-info/WHEEL")
    assert f"Generator: hatchling {locked['hatchling']}\n" in wheel.read_text()
