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

import busmon
from tests.deploy.manifests import VARIANTS, the
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


def make_stand_in() -> None:
    container = buildah("from", "scratch")
    root = buildah("mount", container)
    packages = "--include=ca-certificates,python3,python3-venv"
    run("debootstrap", "--variant=minbase", packages, "bookworm", root, debian_mirror())
    run("rm", "-r", f"{root}/dev", f"{root}/var/cache/apt")
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
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Make the stand-in, and return the options that build upon it."""
    directory = tmp_path_factory.mktemp("image")
    if BASE not in buildah("images", "--format", "{{.Name}}").split():
        make_stand_in()
    return ["--isolation=chroot", f"--build-arg=BASE={BASE}", *pip_of_this_machine(directory)]


@pytest.fixture(scope="module")
def image(options: list[str]) -> Iterator[Image]:
    buildah("build", *options, f"--tag={IMAGE}", PROJECT)
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
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            return counter(answer.read().decode()).total()

    demo = image.command("demo", "--listen", f"127.0.0.1:{port}")
    with Server(demo, tmp_path / "log", ready=lambda server: server.logged("http://")) as service:
        wait_until(counted, what="messages of the demo")
        status = Path(f"/proc/{service.pid}/status").read_text()
        assert f"Uid:\t{NAMESPACE_USER}\t" in status
        mounts = Path(f"/proc/{service.pid}/mountinfo").read_text()
        assert re.search(r" / ro,", mounts)
        assert service.terminate() == 0


def test_the_image_starts_the_service_as_no_root(image: Image) -> None:
    assert image.config["User"] == "1001"
    assert image.config["Entrypoint"] + image.config["Cmd"] == ["busmon", "run"]
    ledger = (image.root / "var/lib/busmon").stat()
    assert (ledger.st_gid, ledger.st_mode & 0o777) == (0, 0o770)


def test_the_sidecar_finds_the_tap_in_the_image(image: Image) -> None:
    pod = the("Deployment", VARIANTS["sidecar"])["spec"]["template"]["spec"]
    [copying] = [init["command"][-1] for init in pod["initContainers"]]
    [tap] = image.root.glob(copying.split()[1].lstrip("/"))
    assert tap.read_bytes() == (PROJECT / "busmon/tap/busmon_tap.py").read_bytes()


def pins(frozen: str) -> dict[str, str]:
    """Return the version of each package in a list of requirements."""
    found = re.findall(r"(?m)^([\w.-]+)==([^\s;]+)", frozen)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def test_the_image_holds_the_locked_versions_and_no_other_package(image: Image) -> None:
    locked = pins((PROJECT / "config/requirements.txt").read_text())
    pip = ["/opt/busmon/bin/python3", "-m", "pip", "freeze", "--exclude", "packit-service-busmon"]
    installed = pins(run("chroot", image.root, *pip))
    assert installed.items() <= locked.items()
    # What only other platforms and other versions of Python need.
    assert locked.keys() - installed.keys() <= {"async-timeout", "tzdata"}
    tools = pins((PROJECT / "config/requirements-build.txt").read_text())
    [wheel] = image.root.glob("opt/busmon/lib/python3*/site-packages/*busmon-*.dist-info/WHEEL")
    assert f"Generator: hatchling {tools['hatchling']}\n" in wheel.read_text()


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-build.txt"])
def test_a_package_whose_hash_differs_is_refused(
    name: str, options: list[str], tmp_path: Path
) -> None:
    context = tmp_path / "context"
    ignored = shutil.ignore_patterns(".*", "tests", "__pycache__")
    shutil.copytree(PROJECT, context, ignore=ignored)
    requirements = context / "config" / name
    text = requirements.read_text()
    first = re.split(r"(?m)(?=^\S+==)", text)[1]
    changed = re.sub(r"sha256:(.)", lambda match: f"sha256:{int(match[1], 16) ^ 1:x}", first)
    requirements.write_text(text.replace(first, changed))
    package = first.split("==")[0]
    with pytest.raises(AssertionError, match="DO NOT MATCH THE HASHES") as refused:
        buildah("build", *options, context)
    assert f"{package}==" in str(refused.value)


def test_the_labels_name_version_origin_and_all_licences(image: Image) -> None:
    prefix = "org.opencontainers.image."
    labels = {
        key.removeprefix(prefix): value
        for key, value in image.config["Labels"].items()
        if key.startswith(prefix)
    }
    assert labels.keys() == {"title", "description", "version", "source", "url", "licenses"}
    assert labels["version"] == busmon.__version__
    assert labels["source"] == "https://github.com/packit/busmon"
    assert labels["url"].startswith(labels["source"])
    licences = labels["licenses"].split(" AND ")
    described = "\n".join(
        metadata.read_text() for metadata in image.root.glob("opt/busmon/**/*.dist-info/METADATA")
    )
    expressions = re.findall(r"(?m)^License-Expression: (.+)$", described)
    assert {part for text in expressions for part in re.split(r" AND | OR ", text)} <= {*licences}
    assert "GPL-2.0-or-later" in licences, "fedora-messaging, which has no License-Expression"


def test_the_base_is_named_by_an_exact_tag() -> None:
    containerfile = (PROJECT / "Containerfile").read_text()
    assert re.search(r"(?m)^ARG BASE=\S+:\d+\.\d+-\d+$", containerfile)
