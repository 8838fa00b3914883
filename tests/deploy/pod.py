"""Containers of a pod on this machine, with the file system that its manifests mount.

Each runs in a mount namespace of its own, whose root has this machine's programs, what its image
has, and the pod's volumes; as a user without a name in group 0, as OpenShift assigns one. Needs
root. The network is that of the machine.
"""

import os
import shlex
import sys
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.deploy.manifests import PROJECT, Manifest, workload

USER = 1000770000
PROGRAMS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "dev", "proc", "sys")
NAMES = ("group", "hosts", "localtime", "nsswitch.conf", "passwd", "resolv.conf", "ssl")  # in /etc
SITE_PACKAGES = f"lib/python3.{sys.version_info.minor}/site-packages"


@dataclass(frozen=True)
class Image:
    """What the process of a container is started with; `files` are its own, by their place."""

    entrypoint: Sequence[str] = ()
    cmd: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)


BUSMON = Image(
    entrypoint=["busmon"],
    cmd=["run"],
    env={"PATH": "/opt/busmon/bin:/usr/bin:/bin", "PYTHONUNBUFFERED": "1", "MALLOC_ARENA_MAX": "1"},
    files={
        "/opt/busmon/bin": Path(sys.executable).parent,
        f"/opt/busmon/{SITE_PACKAGES}/busmon": PROJECT / "busmon",
    },
)


class Pod:
    """A pod of what runs busmon in `manifests`, with the ConfigMaps and Secrets beside it."""

    def __init__(self, directory: Path, manifests: Sequence[Manifest]) -> None:
        self._manifests = manifests
        self._directory = directory
        self._spec = workload(manifests)["spec"]["template"]["spec"]
        self.volumes = {volume["name"]: self._volume(volume) for volume in self._spec["volumes"]}
        self._root = directory / "root"
        self._root.mkdir()

    def command(self, name: str, image: Image, *arguments: str) -> list[str]:
        """Return the command that starts a container; `arguments` replace its own."""
        containers = [*self._spec["containers"], *self._spec.get("initContainers", [])]
        [found] = [container for container in containers if container["name"] == name]
        command = found.get("command")
        own = found.get("args", [] if command else image.cmd)
        argv = [*(command or image.entrypoint), *(arguments or own)]
        script = "\n".join(
            ["set -eu", *self._mounts(found, image), self._start(found, image, argv)]
        )
        return ["unshare", "--mount", "sh", "-c", script]

    def _start(self, container: Manifest, image: Image, argv: Sequence[str]) -> str:
        given = {variable["name"]: self._value(variable) for variable in container.get("env", [])}
        variables = [f"{name}={value}" for name, value in {**image.env, **given}.items()]
        # The signal at the death of the tests is set anew, since the change of the user clears it.
        user = [f"--reuid={USER}", "--regid=0", "--clear-groups", "--pdeathsig=KILL"]
        start = ["chroot", str(self._root), "setpriv", *user, "env", "-i", *variables, *argv]
        return f"exec {shlex.join(start)}"

    def _mounts(self, container: Manifest, image: Image) -> Iterator[str]:
        root = self._root
        yield f"mount -t tmpfs -o mode=755 tmpfs {root}"
        for name in PROGRAMS:
            machine = Path("/", name)
            if machine.is_symlink():
                yield f"ln -s {machine.readlink()} {root}/{name}"
            elif machine.exists():
                yield from self._bind(machine, f"/{name}")
        yield f"mkdir {root}/etc"
        known = [f"/etc/{name}" for name in NAMES if Path("/etc", name).exists()]
        yield f"cp -aL {' '.join(known)} {root}/etc/"
        for place, path in image.files.items():
            yield from self._bind(path, place)
        for mount in container.get("volumeMounts", []):
            yield from self._bind(self.volumes[mount["name"]], mount["mountPath"])
            if mount.get("readOnly"):
                yield f"mount -o remount,bind,ro {root}{mount['mountPath']}"
        # After the volumes, one of which is at /tmp, where this checkout may be, too.
        for path in {PROJECT, Path(sys.prefix), Path(sys.base_prefix)}:
            if not path.is_relative_to("/usr"):
                yield from self._bind(path, str(path))
        if container.get("securityContext", {}).get("readOnlyRootFilesystem"):
            yield f"mount -o remount,ro {root}"

    def _bind(self, path: Path, place: str) -> Iterator[str]:
        yield f"mkdir -p {self._root}{place}"
        yield f"mount --rbind {path} {self._root}{place}"

    def _volume(self, volume: Manifest) -> Path:
        directory = self._directory / f"volumes/{volume['name']}"
        directory.mkdir(parents=True)
        if "emptyDir" in volume or "persistentVolumeClaim" in volume:
            os.chown(directory, USER, 0)
        [kind] = volume.keys() - {"name"}
        mode = volume[kind].get("defaultMode", 0o644)
        for source in volume[kind].get("sources", [volume]):
            for name, content in self._files(source).items():
                (directory / name).write_bytes(content)
                (directory / name).chmod(mode)
        return directory

    def _files(self, source: Manifest) -> dict[str, bytes]:
        if config := source.get("configMap"):
            content = self._content("ConfigMap", config["name"])
        elif config := source.get("secret"):
            name = config.get("secretName") or config["name"]
            if config.get("optional") and not self._found("Secret", name):
                return {}
            content = self._content("Secret", name)
        else:
            return {}
        items = config.get("items")
        return {item["path"]: content[item["key"]] for item in items} if items else content

    def _value(self, variable: Manifest) -> str:
        if "value" in variable:
            return str(variable["value"])
        reference = variable["valueFrom"]["secretKeyRef"]
        return self._content("Secret", reference["name"])[reference["key"]].decode()

    def _content(self, kind: str, name: str) -> dict[str, bytes]:
        [found] = self._found(kind, name)
        decode = b64decode if kind == "Secret" else str.encode
        content = {key: decode(text) for key, text in found.get("data", {}).items()}
        return content | {key: text.encode() for key, text in found.get("stringData", {}).items()}

    def _found(self, kind: str, name: str) -> list[Manifest]:
        wanted = (kind, name)
        return [it for it in self._manifests if (it["kind"], it["metadata"]["name"]) == wanted]
