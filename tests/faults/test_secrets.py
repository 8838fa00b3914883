"""Canaries in every secret and in messages: none of them shows anywhere."""

import json
import os
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.support.brokers import free_port, wait_until
from tests.support.brokers.activemq import ActiveMQ, Publisher
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.busmon_process import PROJECT, Busmon
from tests.support.pretenders import FEDORA_TOML, Pretender, pretended_buses, pretenders
from tests.support.streams import COPR
from tests.support.tap_reports import batch, report

CANARY = "c4nary"
LOGIN = b64encode(b"me:web-c4nary").decode()
SECRET = {"user": CANARY, "build": {"token": CANARY}, CANARY: [CANARY]}
BODIES = [
    json.dumps(SECRET).encode(),
    json.dumps([CANARY]).encode(),
    CANARY.encode(),
    CANARY.encode() + b"\xff",
    b'{"a":' * 5000 + CANARY.encode(),
]


def test_no_secret_shows_anywhere(
    tmp_path: Path,
    certificates: Certificates,
    rabbitmq: RabbitMQ,
    mosquitto: Mosquitto,
    activemq: ActiveMQ,
) -> None:
    """Brokers refuse connections or logins, accept them, or bring messages. The canaries are
    looked for in the debug log, every page, every command, the ledger and the process list."""
    (tmp_path / "stomp-1").write_text("stomp-1-c4nary\n")
    (tmp_path / "mqtt-2").write_text("mqtt-2-c4nary")
    variables = {
        "BUSMON__WEB__USERNAME": "me",
        "BUSMON__WEB__PASSWORD": "web-c4nary",
        "BUSMON__WEB__OPERATORS__EVE__PASSWORD": "operator-c4nary",
        "BUSMON__BUSES__MQTT1__PASSWORD": "mqtt-1-c4nary",
        "BUSMON__BUSES__MQTT2__PASSWORD_FILE": "mqtt-2",
        "BUSMON__AUDIT__REPORTS__TOKEN": "reports-c4nary",
    }
    with ExitStack() as stack:
        named = stack.enter_context(pretenders(hang=False))
        named["redis"] = Pretender()
        stack.callback(named["redis"].close)
        refusing = {
            "amqp": rabbitmq.amqp_port,
            "mqtt": mosquitto.port,
            "stomp": rabbitmq.stomp_port,
        }
        failing = (
            pretended_buses(
                tmp_path, "1", **{name: pretender.port for name, pretender in named.items()}
            )
            | pretended_buses(tmp_path, "2", **{name: free_port() for name in refusing})
            | pretended_buses(tmp_path, "3", **refusing)
        )
        failing["stomp1"]["passcode_file"] = "stomp-1"
        failing["stomp2"]["passcode"] = "stomp-2-c4nary"
        failing["mqtt3"]["password"] = "mqtt-3-c4nary"
        failing["stomp3"] |= {"passcode": "stomp-3-c4nary", "vhost": "/"}
        certificate, key = certificates.client("busmon")
        fedora = {
            "type": "amqp",
            "rules": "packit",
            "config": rabbitmq.fedora_toml(tmp_path / "fedora.toml"),
        }
        centos = {
            "type": "mqtt",
            "rules": "centos",
            "url": mosquitto.tls_url,
            "ca": certificates.ca,
            "certificate": certificate,
            "key": key,
            "client_id": tmp_path.name,
            "topics": [f"{tmp_path.name}/#"],
        }
        umb = {
            "type": "stomp",
            "rules": "packit",
            "brokers": [f"127.0.0.1:{activemq.port}"],
            "destinations": [f"/topic/test.{tmp_path.name}"],
        }
        busmon = Busmon(tmp_path, failing | {"fedora": fedora, "centos": centos, "umb": umb})
        busmon.configure(
            f'[log]\nlevel = "debug"\nformat = "json"\n[audit.reports]\nbus = "fedora"\n'
            f'[audit.celery]\nbus = "fedora"\n'
            f'broker = "redis://me:redis-c4nary@127.0.0.1:{named["redis"].port}"\n'
            f'[sentry]\ndsn = "http://{CANARY}@127.0.0.1:{free_port()}/7"',
        )
        busmon.argv = [
            "env",
            *(f"{name}={value}" for name, value in variables.items()),
            *busmon.argv,
        ]
        stack.enter_context(busmon)
        wait_until(lambda: all_tried(busmon, failing), 60, "every bus to be subscribed or to fail")
        publish(tmp_path.name, rabbitmq, mosquitto, activemq)
        counted = wait_until(lambda: counts(busmon), 60, "the messages")
        assert "busmon_bus_connect_failures_total" in counted
        shown = {f"{path} {who}": answer for path, who, answer in answers(busmon)}
        shown |= names(busmon)
        shown["run --help"] = command_line(variables, "run", "--help")
        configuration = ["-c", str(tmp_path / "busmon.toml")]
        for words in (["check-config"], ["status"], ["gaps"], ["trace", "an id"]):
            shown[words[0]] = command_line(variables, *words, *configuration)
        assert "fedora: amqp" in shown["check-config"]
        for file in tmp_path.glob("ledger*"):
            shown[file.name] = file.read_bytes().decode("latin-1")
        assert {"ledger.sqlite", "ledger.sqlite-wal"} <= shown.keys()
        assert busmon.terminate() == 0
        for name, pretender in named.items():  # otherwise the test would prove nothing
            canary = f"{name}-c4nary" if name == "redis" else f"{name}-1-c4nary"
            assert canary.encode() in pretender.heard
    shown["log"] = busmon.log.read_text()
    shown["ledger"] = (tmp_path / "ledger.sqlite").read_bytes().decode("latin-1")
    private = [CANARY, LOGIN, *key.read_text().splitlines()[1:-1]]
    leaks = {where for where, text in shown.items() if any(secret in text for secret in private)}
    assert leaks == set()


def all_tried(busmon: Busmon, failing: dict[str, dict[str, object]]) -> bool:
    """Return whether every bus that fails has failed twice, and every other one is subscribed."""
    output = busmon.output()
    failed = all(len(re.findall(rf'"{name}: .*trying again', output)) > 1 for name in failing)
    return failed and all(f"{name}: connected" in output for name in ("fedora", "centos", "umb"))


def publish(place: str, rabbitmq: RabbitMQ, mosquitto: Mosquitto, activemq: ActiveMQ) -> None:
    """Publish canaries: in bodies of all kinds, and in headers."""
    schemas = ("base.message", CANARY, "copr.build.end")
    rabbitmq.publish(
        [
            *(Publication(topic=COPR, body=body, headers={"x": CANARY}) for body in BODIES),
            *(
                Publication(topic=COPR, body=BODIES[0], headers={"fedora_messaging_schema": name})
                for name in schemas
            ),
            Publication(topic=COPR, headers={"fedora_messaging_severity": CANARY}),
            Publication(topic=COPR, headers={"sent-at": CANARY}),
            Publication(topic=COPR, properties={"content_encoding": CANARY}),
            Publication(topic=COPR, properties={"user_id": "admin", "app_id": CANARY}),
        ]
    )
    mosquitto.publish((f"{place}/pull-request.new", body) for body in BODIES)
    with Publisher(activemq.port) as publisher:
        publisher.send(f"/topic/test.{place}", *BODIES, secret=CANARY)


def counts(busmon: Busmon) -> str:
    """Return /metrics as soon as each bus has delivered what was published."""
    text = get(busmon, "/metrics", f"Basic {LOGIN}")
    for bus, messages in {"fedora": 12, "centos": len(BODIES), "umb": len(BODIES)}.items():
        numbers = re.findall(rf'^busmon_messages_total{{bus="{bus}".* (.+)$', text, re.MULTILINE)
        if sum(map(float, numbers)) < messages:
            return ""
    return text


def answers(busmon: Busmon) -> Iterator[tuple[str, str, str]]:
    """Yield each page, who asks, and the answer."""
    friend, stranger = f"Basic {LOGIN}", f"Basic {b64encode(b'me:wrong').decode()}"
    pages = "/", "/topics", "/messages", "/gaps", "/gaps/accept", "/incidents", "/v1/gaps"
    for path in ("/metrics", *pages, "/ready", "/live", "/v1/status", "/nonsense", "/v1/reports"):
        for who, shows in {"friend": friend, "stranger": stranger, "nobody": ""}.items():
            yield path, who, get(busmon, path, shows)
    content = json.dumps(batch(report(state=CANARY))).encode()
    right = json.dumps(batch(report())).encode()
    for body in (content, right, b"{", b"[" * 5000):
        for who in ("reports-c4nary", "wrong"):
            yield (
                f"/v1/reports {body[:30]!r}",
                who[:5],
                get(busmon, "/v1/reports", f"Bearer {who}", body),
            )


def get(busmon: Busmon, path: str, authorization: str, body: bytes | None = None) -> str:
    """Return headers and text of an answer, whatever its status."""
    headers = {"Authorization": authorization, "Content-Type": "application/json"}
    request = Request(f"{busmon.url}{path}", body, headers)
    try:
        with urlopen(request, timeout=10) as answer:
            return f"{answer.headers}{answer.read().decode()}"
    except HTTPError as error:
        with error:
            return f"{error.headers}{error.read().decode()}"


def names(busmon: Busmon) -> dict[str, str]:
    """Return what other users see of the process, and of each thread that has not ended yet."""
    process = Path(f"/proc/{busmon.pid}")
    shown = {}
    for path in (process / "cmdline", *(process / "task").glob("*/comm")):
        with suppress(FileNotFoundError, ProcessLookupError):
            shown[str(path)] = path.read_text()
    return shown


def command_line(variables: dict[str, str], *words: str) -> str:
    """Return what a command prints, whatever its exit status."""
    done = subprocess.run(
        [sys.executable, "-m", "busmon", *words],
        cwd=PROJECT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_a_wrong_configuration_is_reported_without_its_secrets(tmp_path: Path) -> None:
    (tmp_path / "fedora.toml").write_text(FEDORA_TOML.format(password=CANARY, port="c4nary"))
    broken = tmp_path / "busmon.toml"
    broken.write_text(
        f"""
        [web]
        token = "{CANARY}"
        password = "{CANARY}"
        [ledger]
        {CANARY[:2]} = "{CANARY}"
        [audit.reports]
        bus = "none"
        token = "{CANARY}\u00e9"
        [audit.celery]
        bus = "mqtt"
        broker = "amqp://:{CANARY}@localhost"
        [audit.ready]
        bus = "mqtt"
        url = "http://me:{CANARY}@localhost/ready"
        [buses.amqp]
        type = "amqp"
        rules = "packit"
        config = "fedora.toml"
        [buses.mqtt]
        type = "mqtt"
        rules = "centos"
        url = "mqtt://me:{CANARY}@localhost"
        topics = ["#"]
        client_id = "busmon"
        password = ["{CANARY}"]
        [buses.stomp]
        type = "stomp"
        rules = "all"
        brokers = ["me:{CANARY}@localhost"]
        destinations = ["/topic/a"]
        passcode_file = "{CANARY}"
        """
    )
    variables = {"BUSMON__WEB__TOKEN_": CANARY, "BUSMON__BUSES__NONE__PASSWORD": CANARY}
    text = command_line(variables, "check-config", "-c", str(broken))
    assert len(text.splitlines()) > 10
    assert CANARY not in text
    broken.write_text(f'[web]\ntoken = "{CANARY}\n')
    assert "(at line 2, column " in (text := command_line({}, "check-config", "-c", str(broken)))
    assert CANARY not in text
