"""A listener's image, as Packit's Dockerfile makes it: its own Python, its packages, its CMD.

fedora-messaging and Copr's schemas are packages of the system. pip has installed Celery and the
callback in another directory, which only PYTHONPATH names.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.busmon_process import PROJECT
from tests.support.made_once import made_once
from tests.support.pythons import found

TAP = PROJECT / "busmon" / "tap"
CALLBACK = "packit_service_fedmsg.consumer:Consumerino"
CACHE = PROJECT / ".cache" / "listener-images"
# As Packit's newest known image, of CentOS Stream 9: Python 3.9, if it is here, as it is on CI. The
# fedora-messaging is the oldest that can have the tap.
STREAM_9 = (next(iter(found())), "fedora-messaging==3.6.0", "copr-messaging")
NEWEST = (list(found())[-1], "fedora-messaging")


class ListenerImage:
    """The file system of the image, and how it is started.

    What has to be installed is kept in `.cache`, for each Python and its packages.
    """

    def __init__(self, directory: Path, python: str, *system_packages: str) -> None:
        made = _installed(found()[python], system_packages)
        self.bin = made / "system" / "bin"
        self.packages = directory / "usr/local/lib" / f"python{python}" / "site-packages"
        self.env = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.packages),
            "PYTHONNOUSERSITE": "1",
        }
        self.packages.mkdir(parents=True)
        for installed in (made / "pip/lib" / f"python{python}" / "site-packages").iterdir():
            (self.packages / installed.name).symlink_to(installed)
        own = self.packages / "packit_service_fedmsg"
        own.mkdir()
        shutil.copy(Path(__file__).with_name("consumerino.py"), own / "consumer.py")

    @staticmethod
    def command(callback: str = CALLBACK) -> list[str]:
        """Return the image's CMD; with another callback, what a Deployment replaces it with."""
        return ["fedora-messaging", "consume", f"--callback={callback}"]

    def copy_tap(self) -> None:
        """COPY the tap, the one file of it, to the packages that pip has installed."""
        shutil.copy(TAP / "busmon_tap.py", self.packages)

    def pip_install_tap(self) -> None:
        """RUN pip install of the tap's project."""
        _pip(self.bin, "--target", str(self.packages), str(TAP))


def _installed(python: Path, system_packages: Sequence[str]) -> Path:
    """Return a directory with a virtual environment `system`, and `pip` with what pip adds."""
    names = f"{python} {' '.join(system_packages)}"
    made = CACHE / hashlib.sha256(names.encode()).hexdigest()[:16]

    def install() -> None:
        subprocess.run([python, "-m", "venv", "--clear", made / "system"], check=True)
        _pip(made / "system" / "bin", *system_packages)
        _pip(made / "system" / "bin", "--prefix", str(made / "pip"), "celery[redis]")

    return made_once(made, install)


def _pip(programs: Path, *arguments: str) -> None:
    """Install; the error says what pip printed."""
    install = ["-m", "pip", "install", "--quiet", "--no-compile", *arguments]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(programs / "python"), *install],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"pip install {arguments}: {done.stdout}{done.stderr}"
