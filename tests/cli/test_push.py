"""`busmon replay --push`, with a real Pushgateway."""

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from urllib.request import urlopen

import pytest

from busmon.commands.replay import JOB, PUBLISHED
from tests.samples import CENTOS_FILE, FEDORA, FEDORA_FILE
from tests.support.brokers import free_port
from tests.support.busmon_process import PROJECT
from tests.support.command import busmon
from tests.support.exposition import counter
from tests.support.pushgateway import Pushgateway


@pytest.fixture(scope="module")
def pushgateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Pushgateway(tmp_path_factory.mktemp("pushgateway")) as gateway:
        yield gateway.url


def test_counts_are_pushed_in_place_of_earlier_ones(pushgateway: str) -> None:
    busmon("replay", CENTOS_FILE, "--push", pushgateway)
    ended = busmon("replay", FEDORA_FILE, "--push", f"{pushgateway}/")
    assert "copr.build.start" in ended.stdout
    with urlopen(f"{pushgateway}/metrics", timeout=10) as answer:
        exposed = answer.read().decode()
    assert counter(exposed, job=JOB) == Counter([("fedora", *row) for row in FEDORA])
    pushed = set(re.findall(r"^# TYPE (busmon_\w+) ", exposed, re.MULTILINE))
    assert {name.removesuffix("_total") for name in pushed} <= PUBLISHED


def test_what_is_pushed_is_documented_and_no_alert_takes_it_for_busmon() -> None:
    documents = PROJECT / "config" / "prometheus"
    _, _, text = (documents / "METRICS.md").read_text().partition("`busmon replay --push` sends")
    named = re.findall(r"`(busmon_\w+)`", text.split(". ")[0])
    assert {name.removesuffix("_total") for name in named} == PUBLISHED
    rules = tomllib.loads((documents / "settings.toml").read_text())
    assert not re.fullmatch(rules["job"], JOB)


def test_a_failed_push_is_reported_after_the_counts(pushgateway: str) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    for url, why in [
        (nobody, "[Errno 111] Connection refused"),
        (f"{pushgateway}/elsewhere", "HTTP Error 404: Not Found"),
    ]:
        ended = busmon("replay", CENTOS_FILE, "--push", url, status=1)
        assert ended.stderr == f"busmon: cannot push to {url}: {why}\n"
        assert "git.centos.org/git.receive" in ended.stdout
