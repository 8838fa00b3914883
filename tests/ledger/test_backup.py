"""The commands of config/README.md that back the ledger up and restore it, as they stand there."""

import re
import subprocess
from contextlib import closing
from pathlib import Path
from uuid import uuid4

from busmon.ledger.ledger import Ledger
from tests.support.brokers import wait_until
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.busmon_process import PROJECT, Busmon
from tests.support.ledgers import counted, judged

SECTION = (PROJECT / "config/README.md").read_text().split("## Back up and restore the ledger")[1]
BACK_UP, RESTORE = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)


def run(commands: str, directory: Path) -> None:
    assert "cd /var/lib/busmon\n" in commands
    here = commands.replace("cd /var/lib/busmon\n", f"cd {directory}\n")
    subprocess.run(["sh", "-e", "-c", here], check=True)


class Counting:
    """A busmon with one bus, which has counted so many messages in all."""

    def __init__(self, directory: Path, broker: Mosquitto, name: str) -> None:
        bus = {"type": "mqtt", "rules": "all", "url": broker.url, "client_id": name}
        self.busmon = Busmon(directory, {"centos": bus | {"topics": [f"{name}/#"]}})
        self._broker, self._topic = broker, f"{name}/topic"

    def count(self, messages: int, total: int) -> None:
        self.busmon.wait_until_ready()
        self._broker.publish((self._topic, b"{}") for _ in range(messages))
        counts = self.busmon.counts
        wait_until(lambda: counts().total() == total, what=f"{total} messages")


def test_counters_continue_from_a_restored_backup(tmp_path: Path, mosquitto: Mosquitto) -> None:
    name = uuid4().hex
    before = Counting(tmp_path, mosquitto, name)
    with before.busmon as busmon:
        before.count(100, total=100)
        run(BACK_UP, tmp_path)
        before.count(50, total=150)
        run(BACK_UP, tmp_path)  # replaces the first one
        before.count(30, total=180)
        busmon.kill()
    assert (tmp_path / "backup.sqlite").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "ledger.sqlite-wal").exists()
    run(RESTORE, tmp_path)
    after = Counting(tmp_path, mosquitto, name)
    with after.busmon as busmon:
        after.count(20, total=170)
        assert busmon.duplicates() == {}


def test_the_ledger_of_a_stopped_busmon_is_backed_up_too(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    with closing(Ledger(path)) as ledger:
        ledger.record(judged(*range(100)))
    run(BACK_UP, tmp_path)
    with closing(Ledger(path)) as ledger:
        ledger.record(judged("later"))
    run(RESTORE, tmp_path)
    with closing(Ledger(path)) as ledger:
        assert ledger.size()[0] == counted(ledger) == 100
