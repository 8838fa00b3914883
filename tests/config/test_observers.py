"""`[audit.ready]`, `[audit.celery]`, `[audit.queue]`: their defaults, and every way to err."""

import sys
from pathlib import Path

import pytest

from busmon.config.describe import describe
from tests.config import AMQP, MQTT, SECRET, problems, read

READY = '[audit.ready]\nbus = "centos"\nurl = "http://localhost:8080/ready"\n'
CELERY = f'[audit.celery]\nbus = "centos"\nbroker = "redis://:{SECRET}@localhost:6379/0"\n'


def test_observers_need_little_and_show_no_secret(directory: Path) -> None:
    config = read(
        directory, MQTT + READY + CELERY, BUSMON__AUDIT__CELERY__QUEUES="short-running,long"
    )
    assert config.audit.ready
    assert config.audit.ready.interval == 15
    assert config.audit.celery
    assert config.audit.celery.tasks == ("task.steve_jobs.process_message",)
    assert config.audit.celery.queues == ("short-running", "long")
    assert SECRET not in repr(config)


def test_the_brokers_url_may_be_in_a_file(directory: Path) -> None:
    (directory / "broker").write_text("redis://localhost\n")
    text = MQTT + '[audit.celery]\nbus = "centos"\nbroker_file = "broker"\n'
    celery = read(directory, text).audit.celery
    assert celery
    assert celery.broker.get_secret_value() == "redis://localhost"


def test_an_observer_of_an_unknown_bus_is_reported(directory: Path) -> None:
    text = MQTT + READY.replace("centos", "fedora") + CELERY.replace("centos", "umb")
    assert problems(directory, text) == [
        "audit.ready.bus: no such bus: fedora",
        "audit.celery.bus: no such bus: umb",
    ]


@pytest.mark.parametrize("library", ["celery", "redis"])
def test_celery_that_is_not_installed_is_reported(
    directory: Path, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    assert problems(directory, MQTT + CELERY) == [
        'audit.celery: needs Celery: install busmon with its extra "celery"'
    ]
    assert read(directory, MQTT + READY).audit.celery is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8080",
        "ftp://localhost/",
        "http://",
        "http://a:b/",
        "http://[::1/",
        "http://a/b c",
        "http://a/b?c",
    ],
)
def test_a_monitors_url_is_one_of_http(directory: Path, url: str) -> None:
    text = MQTT + READY.replace("http://localhost:8080/ready", url)
    assert problems(directory, text) == [
        "audit.ready.url: should be http://HOST:PORT/ready of the listener's fedora-messaging"
    ]


def test_a_monitors_url_holds_no_password(directory: Path) -> None:
    text = MQTT + READY.replace("localhost", f"me:{SECRET}@localhost")
    (problem,) = problems(directory, text)
    assert problem == "audit.ready.url: should hold no user and no password"


@pytest.mark.parametrize(
    "url",
    [
        SECRET,
        f"amqp://:{SECRET}@localhost",
        f"redis://:{SECRET}@",
        "redis://a:b",
        f"redis://a?{SECRET}",
    ],
)
def test_a_broker_is_redis_and_what_is_not_is_not_repeated(directory: Path, url: str) -> None:
    text = MQTT + f'[audit.celery]\nbus = "centos"\nbroker = "{url}"\ntasks = []\n'
    assert problems(directory, text) == [
        "audit.celery.broker: should be redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE],"
        " or rediss://",
        "audit.celery.tasks: should not be empty",
    ]


def test_a_ca_needs_a_broker_with_tls(directory: Path) -> None:
    text = MQTT + CELERY + 'ca = "exists"\n'
    assert problems(directory, text) == ["audit.celery.ca: needs a broker of rediss://"]
    celery = read(directory, text.replace("redis:", "rediss:")).audit.celery
    assert celery
    assert celery.ca == directory / "exists"


BOTH = AMQP + MQTT
NAMELESS = 'config = "nameless.toml"'


def watched(directory: Path, text: str, **environ: str) -> list[str]:
    config = read(directory, text, **environ)
    return list(config.audit.queue.watched(config.buses))


@pytest.fixture
def nameless(directory: Path) -> str:
    """A bus whose file names no queue: then the broker chooses a name."""
    (directory / "nameless.toml").write_text('amqp_url = "amqp://localhost"\n')
    return AMQP.replace('config = "fedora.toml"', NAMELESS)


def test_a_listeners_queue_is_looked_at_where_its_file_names_one(
    directory: Path, nameless: str
) -> None:
    assert watched(directory, BOTH) == ["fedora"]
    assert watched(directory, BOTH + "[audit.queue]") == ["fedora"]
    assert watched(directory, BOTH + AMQP.replace("fedora]", "f2]")) == ["fedora", "f2"]
    assert watched(directory, nameless) == []


def test_the_look_at_a_listeners_queue_can_be_switched_off(directory: Path) -> None:
    off = BOTH + "[audit.queue]\nbuses = []"
    assert watched(directory, off) == []
    assert watched(directory, BOTH, BUSMON__AUDIT__QUEUE__BUSES="") == []
    assert "audit" not in describe(read(directory, off))
    two = BOTH + AMQP.replace("fedora]", "f2]")
    assert watched(directory, two + "[audit.queue]\nbuses = ['f2']") == ["f2"]


def test_a_bus_without_a_queue_that_is_known_cannot_be_looked_at(
    directory: Path, nameless: str
) -> None:
    text = nameless + MQTT + '[audit.queue]\nbuses = ["fedora", "centos", "umb"]\nevery = 1\n'
    assert problems(directory, text) == [
        "audit.queue.buses: fedora: no file names its listener's queue",
        "audit.queue.buses: centos: no file names its listener's queue",
        "audit.queue.buses: no such bus: umb",
        "audit.queue.every: no such setting",
    ]
