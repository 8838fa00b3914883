"""The commands of config/postgresql/README.md that back a ledger up and restore it."""

import os
import re
import subprocess
from contextlib import closing
from pathlib import Path

from busmon.ledger.ledger import Ledger
from tests.support.busmon_process import PROJECT
from tests.support.ledger_server import ADMIN, USER, LedgerServer
from tests.support.ledgers import counted, database_at, judged

SECTION = (PROJECT / "config/postgresql/README.md").read_text().split("## Back up and restore")[1]
BACK_UP, RESTORE = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)


def run(commands: str, url: str, directory: Path) -> None:
    environment = os.environ | {"URL": url}
    subprocess.run(["sh", "-e", "-c", commands], cwd=directory, env=environment, check=True)


def test_counters_continue_from_a_restored_backup_of_a_database(
    ledger_server: LedgerServer, tmp_path: Path
) -> None:
    url = ledger_server.url_of(ledger_server.emptied())
    with closing(Ledger(database_at(url))) as ledger:
        ledger.record(judged(*range(100)))
        size = ledger.size()
        run(BACK_UP, url, tmp_path)  # while it is open
        ledger.record(judged(*range(100, 150)))
    run(RESTORE, url, tmp_path)
    name = ledger_server.database()  # that of another service, as config/postgresql/ has it
    ledger_server.sql(f"ALTER DATABASE {name} OWNER TO {ADMIN}")
    ledger_server.sql(f"GRANT CREATE ON DATABASE {name} TO {USER}")
    other = ledger_server.url_of(name)
    run(RESTORE, other, tmp_path)
    for place in map(database_at, (url, other)):
        with closing(Ledger(place)) as ledger:
            assert (counted(ledger), ledger.size()) == (100, size)
            assert len(ledger.record(judged(*range(50, 120))).new) == 20
            assert counted(ledger) == 120
