"""Real brokers, private to the test session: child processes on loopback."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

T = TypeVar("T")


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on.

    It stays bound as long as the tests run, so the kernel gives it to no client and no other
    test. A server that names it can still listen there, since servers set SO_REUSEADDR.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        probe.detach()
    return port


def accepts(port: int) -> bool:
    """Return whether something listens on this port of 127.0.0.1."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def wait_until(condition: Callable[[], T], seconds: float = 60, what: str = "the condition") -> T:
    """Return the condition's value as soon as it is true; AssertionError after `seconds`.

    To ask can cost more than what is waited for, so the pauses grow, up to a tenth of a second.
    """
    began = time.monotonic()
    while not (value := condition()):
        waited = time.monotonic() - began
        if waited > seconds:
            raise AssertionError(f"waited {seconds:g} s for {what}")
        time.sleep(min(0.02 + waited / 20, 0.1))
    return value


class Server:
    """A child process with a process group of its own, its output in a log file.

    `env` is added to the environment of the tests. `ready` is called repeatedly after the
    start; it may look at ports or at `logged`. The kernel kills the process when the thread
    that started it ends, so it never outlives the tests. So start it from the main thread.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        *,
        ready: Callable[["Server"], bool] = lambda _: True,
        seconds: float = 60,
    ) -> None:
        self.argv = [str(word) for word in argv]
        self.log = log
        self._env = dict(env or {})
        self._cwd = cwd
        self._ready = ready
        self._seconds = seconds
        self._log_start = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it, and wait until it is ready."""
        process = self.launch()
        try:
            wait_until(self._ready_or_ended, self._seconds, f"{self.argv[0]} to be ready")
            assert self.running, f"{self.argv[0]} ended with status {process.returncode}"
        except BaseException as error:
            self.kill()
            error.add_note(self.output()[-3000:])
            raise
        return self

    def run(self, seconds: float = 30) -> int:
        """Start it, wait until it has ended by itself, and return its exit status."""
        self.launch()
        return self.wait(seconds)

    def launch(self) -> subprocess.Popen[bytes]:
        assert not self.running, f"{self.argv[0]} runs already"
        with self.log.open("ab") as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(
                # nohup and a shell's & ignore some signals, and a child inherits that.
                ["setpriv", "--pdeathsig", "KILL", "env", "--default-signal", *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # On Debian some servers are not in a user's PATH.
                env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin"} | self._env,
                cwd=self._cwd,
                start_new_session=True,
            )
        return self._process

    def _ready_or_ended(self) -> bool:
        return not self.running or self._ready(self)

    @property
    def pid(self) -> int:
        """The id of the process itself, with no shell between."""
        assert self._process, f"{self.argv[0]} was never started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def memory(self) -> int:
        """Return its resident memory in bytes."""
        return self._status("VmRSS")

    def own_memory(self) -> int:
        """Return its resident memory in bytes, without what is backed by files."""
        return self._status("RssAnon")

    def peak_memory(self) -> int:
        """Return the peak of its resident memory in bytes."""
        return self._status("VmHWM")

    def _status(self, key: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return int(fields[key].removesuffix("kB")) * 1024

    def output(self) -> str:
        """Return what it has printed since its last start."""
        if not self.log.exists():
            return ""
        return self.log.read_bytes()[self._log_start :].decode(errors="replace")

    def logged(self, text: str) -> bool:
        """Return whether it has printed this text since its last start."""
        return text in self.output()

    def wait(self, seconds: float = 30) -> int:
        """Wait until it has ended by itself, and return its exit status."""
        assert self._process, f"{self.argv[0]} was never started"
        return self._process.wait(seconds)

    def terminate(self, seconds: float = 60) -> int:
        """Ask it to end (SIGTERM), kill it after `seconds`, and return its exit status.

        On a busy machine it can take long; only a test of how soon something ends gives less.
        """
        if self.running:
            os.kill(self.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.wait(seconds)
        return self.kill()

    def kill(self) -> int:
        """Kill it and all its children (SIGKILL), and return its exit status."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self.wait()

    def restart(self) -> None:
        """Terminate it, and start it again."""
        self.terminate()
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.running:
            self.kill()
