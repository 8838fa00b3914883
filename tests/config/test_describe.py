"""The summary of a configuration."""

from importlib.metadata import version
from pathlib import Path

import pytest

from busmon.config.describe import describe
from tests.config import AMQP, MQTT, OWN, QUEUE, SECRET, STOMP, in_bus, read
from tests.support.brokers.certificates import Certificates

SCHEMAS = ", ".join(f"{name} {version(name)}" for name in ("copr-messaging", "fedora-messaging"))


def test_the_summary_says_what_would_be_watched_and_served(
    directory: Path, certificates: Certificates
) -> None:
    certificate, key = certificates.client("busmon")
    text = f"""
    [web]
    listen = "[::1]:12876"
    certificate = "{certificate}"
    key = "{key}"
    client_ca = "{certificates.ca}"
    token = "{SECRET}"
    [ledger]
    path = "/srv/ledger.sqlite"
    size_limit = 20000000
    [rules.packit]
    user = "packit-stg"
    [rules.centos]
    subtopics = ["pull-request", "git"]
    """
    text += in_bus(AMQP, "extra_routing_keys = ['d']")
    text += in_bus(AMQP.replace("fedora]", "f2]"), "routing_keys = 'x'", f"queue = '{OWN}'")
    text += in_bus(
        MQTT.replace("mqtt://localhost", "mqtts://[::1]"),
        f"certificate = '{certificate}'\nkey = '{key}'",
        "username = 'u'",
    )
    text += STOMP + in_bus(STOMP.replace("umb]", "umb2]"), "client_id = 'b'", "tls = true")
    text += "\n[buses.old]\ntype = 'replay'\nrules = 'tests.support.listener:get_callback'\n"
    text += "files = ['exists']\nrate = 10\n"
    assert describe(read(directory, text)) == (
        """\
fedora: amqp, rules packit
  broker      localhost:5672, vhost /public_pubsub, no TLS, as fedora.toml says
  subscribes  4 routing keys: a, b, c and 1 more
  queue       its own, made at the first start
  listener    its queue outlives its connection
  schemas     SCHEMAS
f2: amqp, rules packit
  broker      localhost:5672, vhost /public_pubsub, no TLS, as fedora.toml says
  subscribes  1 routing key: x
  queue       4ad5a2c6-5f0b-4f4e-9a55-9d7e0f3f5b0e
  listener    its queue outlives its connection
  schemas     SCHEMAS
centos: mqtt, rules centos
  broker      [::1]:8883, MQTT 5, TLS with client certificate, password
  subscribes  1 topic: git.centos.org/#
  session     persistent, of client busmon, QoS 1
umb: stomp, rules all
  broker      localhost:61613, no TLS, no password
  subscribes  1 destination: /topic/a
  session     not durable, ack client
umb2: stomp, rules all
  broker      localhost:61613, TLS, no password
  subscribes  1 destination: /topic/a
  session     durable, of client b, ack client
old: replay, rules tests.support.listener:get_callback
  reads       1 file: exists
  rate        10 messages a second
  schemas     SCHEMAS
rules
  packit      user packit-stg, project packit
  centos      what begins with pull-request or git after the first /
web
  address     https://[::1]:12876/metrics
  access      with a client certificate and the bearer token
ledger
  path        /srv/ledger.sqlite
  keeps       messages for 7d, at most 20000000 bytes
audit
  queue       once a minute, of fedora 2 queues: QUEUE, packit-Listener; of f2 2 queues: QUEUE, \
packit-Listener""".replace("QUEUE", QUEUE).replace("SCHEMAS", SCHEMAS)
    )


@pytest.mark.parametrize(
    ("web", "access"),
    [
        ("", "open to all who reach it"),
        ("username = 'u'\npassword = 'p'", "with user and password"),
        (
            "token = 't'\nusername = 'u'\npassword = 'p'",
            "with the bearer token or user and password",
        ),
    ],
)
def test_the_summary_says_who_may_read_the_metrics(web: str, access: str, directory: Path) -> None:
    assert f"  access      {access}\n" in describe(read(directory, f"[web]\n{web}\n{MQTT}"))


def test_the_summary_names_public_url_and_operators_and_no_password(directory: Path) -> None:
    text = "[web]\npublic_url = 'https://host/busmon'\n"
    text += "[web.operators.alice]\npassword = 'a'\n[web.operators.bob]\npassword = 'b'\n"
    summary = describe(read(directory, text + MQTT))
    assert "  public      https://host/busmon\n" in summary
    assert "  operators   alice, bob: may read, accept gaps and forget names\n" in summary


def test_the_summary_says_who_observes_the_listener_and_its_workers(directory: Path) -> None:
    text = f"""
    [audit.reports]
    bus = "centos"
    token = "{SECRET}"
    [audit.ready]
    bus = "centos"
    url = "http://localhost/ready"
    [audit.celery]
    bus = "centos"
    broker = "redis://:{SECRET}@localhost"
    queues = "a,b"
    """
    _, _, audit = describe(read(directory, MQTT + text)).partition("audit\n")
    assert audit == (
        """\
  reports     of the tap of centos, at /v1/reports with a bearer token
  ready       of the listener of centos, every 15s
  celery      behind centos, 1 task: task.steve_jobs.process_message; 2 queues: a, b"""
    )


def test_the_summary_says_which_silence_is_too_long(directory: Path) -> None:
    patterns = '"git.centos.org/*" = "3d"\n"org.*.hotness.*" = "36h"\n'
    text = describe(read(directory, MQTT + f"\n[silence.max_silence]\n{patterns}"))
    lines = ["silence", "  after 3d    git.centos.org/*", "  after 36h   org.*.hotness.*"]
    assert text.splitlines()[-3:] == lines


def test_the_summary_says_which_topics_have_to_come_from_the_first_day(directory: Path) -> None:
    pushes = "org.fedoraproject.prod.pagure.git.receive"
    bound = in_bus(AMQP, "routing_keys = 'org.fedoraproject.prod.pagure.git.#'")
    shown = f"silence\n  within 1d   fedora: {pushes}, until it has a baseline"
    assert shown in describe(read(directory, bound))
    ours = bound + '\n[silence.expected_topics]\n"org.*" = "90m"\n'
    assert shown.replace("1d ", "90m") in describe(read(directory, ours))
    none = bound + "\n[silence]\nexpected_topics = {}\n"
    assert "silence" not in describe(read(directory, none))
