"""What a configuration file and the environment make, and every way in which they can be wrong."""

import logging
import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
from fedora_messaging.config import LazyConfig
from pydantic import SecretStr

from busmon import fedora_toml
from busmon.config import ConfigError, load
from busmon.describe import describe
from busmon.fedora_toml import Binding
from busmon.section import Section
from busmon.settings import AmqpBus, AnyBus, Config, MqttBus, Rules, StompBus, host_port

EXAMPLES = Path(__file__).parent.parent / "config"
QUEUE = "0b6e1b5c-3d6e-4e5f-8a67-1c2d3e4f5a6b"
OWN = "4ad5a2c6-5f0b-4f4e-9a55-9d7e0f3f5b0e"
SECRET = "tr0ub4dor"

MQTT = """
[buses.centos]
type = "mqtt"
rules = "centos"
url = "mqtt://localhost"
client_id = "busmon"
topics = ["git.centos.org/#"]
"""
AMQP = """
[buses.fedora]
type = "amqp"
rules = "packit"
config = "fedora.toml"
"""
STOMP = """
[buses.umb]
type = "stomp"
rules = "all"
brokers = ["localhost:61613"]
destinations = ["/topic/a"]
"""
LISTENER = f"""
amqp_url = "amqp://packit:{SECRET}@localhost/%2Fpublic_pubsub"
[queues.{QUEUE}]
durable = true
auto_delete = false
exclusive = false
arguments = {{}}
[[bindings]]
queue = "packit-Listener"
exchange = "amq.topic"
routing_keys = ["a", "b"]
[[bindings]]
exchange = "zmq.topic"
routing_keys = ["c"]
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "fedora.toml").write_text(LISTENER)
    (tmp_path / "exists").write_text(f"{SECRET}\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "latin1").write_bytes(b"p\xe4ssword")
    monkeypatch.chdir(tmp_path)
    return Path()


def read(directory: Path, text: str, **environ: str) -> Config:
    path = directory / "busmon.toml"
    path.write_text(text)
    return load(path, environ)


def problems(directory: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        read(directory, text, **environ)
    assert str(raised.value) == "\n".join(raised.value.problems)
    return raised.value.problems


def in_bus(bus: str, *lines: str) -> str:
    return bus + "\n".join(lines)


INVALID: dict[str, tuple[str, list[str]]] = {
    "nothing": ("", ["buses: is missing"]),
    "no bus": ("[buses]", ["buses: should not be empty"]),
    "no TOML": (
        "[web]\nlisten = ",
        ["busmon.toml: Invalid value (at end of document)"],
    ),
    "a syntax error in a line": (
        "[web\n",
        ["busmon.toml: Expected ']' at the end of a table declaration (at line 1, column 5)"],
    ),
    "unknown keys at every depth": (
        "colour = 1\n[web]\ncolor = 1\n[rules.packit]\nx = 1\n" + in_bus(MQTT, "topic = 'a'"),
        [
            "colour: no such setting",
            "web.color: no such setting",
            "rules.packit.x: no such setting",
            "buses.centos.topic: no such setting",
        ],
    ),
    "no tables": (
        "web = 1\nlog = []\n[buses]\ncentos = 'x'",
        ["web: should be a table", "log: should be a table", "buses.centos: should be a table"],
    ),
    "buses that are no table": ("buses = 3", ["buses: should be a table"]),
    "types and limits": (
        """
        [limits]
        unknown_topics = -1
        [log]
        level = "loud"
        format = 1
        [ledger]
        path = ""
        retention = "7"
        size_limit = "1GB"
        [web]
        username = 1
        password = 2
        """
        + in_bus(MQTT, "qos = 3", "version = 5", "keepalive = 0", "subtopics = 7"),
        [
            "limits.unknown_topics: should be greater than or equal to 0",
            "log.level: should be 'debug', 'info', 'warning' or 'error'",
            "log.format: should be 'text' or 'json'",
            "ledger.path: should not be empty",
            "ledger.retention: should be a number and a unit (s, m, h, d, w)",
            "ledger.size_limit: should be a number and a unit (KiB, MiB, GiB)",
            "web.username: should be a string",
            "web.password: should be a string",
            "buses.centos.qos: should be less than or equal to 1",
            "buses.centos.version: should be '3.1.1' or '5'",
            "buses.centos.keepalive: should be greater than 0",
            "buses.centos.subtopics: should be a list",
        ],
    ),
    "the web server's settings that do not go together": (
        "[web]\nlisten = '9810'\n"
        "key = 'exists'\nclient_ca = 'nowhere'\ntoken = 'x'\nusername = 'u'\n" + MQTT,
        [
            "web.listen: should be host:port, an IPv6 address in brackets",
            "web.key: needs certificate too",
            "web.client_ca: nowhere: No such file or directory",
            "web.token: should not be given together with username and password",
            "web.username: needs password too",
        ],
    ),
    "a client CA without a certificate": (
        "[web]\nclient_ca = 'exists'\n" + MQTT,
        ["web.client_ca: needs certificate and key too"],
    ),
    "files that cannot be read": (
        "[web]\ncertificate = '.'\nkey = 'nowhere'\n" + MQTT,
        ["web.certificate: .: Is a directory", "web.key: nowhere: No such file or directory"],
    ),
    "names of buses and rules": (
        MQTT.replace("centos]", "CentOS]").replace('rules = "centos"', 'rules = "fedora"')
        + STOMP.replace('"umb"', "").replace("buses.umb", 'buses."u.m.b"'),
        [
            "buses.CentOS: a bus name should be of a-z, 0-9, _ and -, a letter first",
            "buses.CentOS.rules: should be packit, centos, all or module:callable",
            'buses."u.m.b": a bus name should be of a-z, 0-9, _ and -, a letter first',
        ],
    ),
    "types of buses": (
        "[buses.a]\nrules = 'all'\n[buses.b]\ntype = 'kafka'\n[buses.c]\ntype = 'mqtt'",
        [
            "buses.a.type: is missing; it should be amqp, mqtt, stomp or replay",
            "buses.b.type: should be amqp, mqtt, stomp or replay",
            "buses.c.rules: is missing",
            "buses.c.url: is missing",
            "buses.c.topics: is missing",
            "buses.c.client_id: is missing",
        ],
    ),
    "topic filters": (
        MQTT.replace('["git.centos.org/#"]', '["a", "#/b", "a#", "+/b+", "", "+/a/#", "#", 1]'),
        [
            "buses.centos.topics, item 2: #/b: # should stand alone after the last /",
            "buses.centos.topics, item 3: a#: # should stand alone after the last /",
            "buses.centos.topics, item 4: +/b+: + should stand alone between two /",
            "buses.centos.topics, item 5: a topic filter should not be empty",
            "buses.centos.topics, item 8: should be a string",
        ],
    ),
    "no topics and no client id": (
        MQTT.replace('["git.centos.org/#"]', "[]").replace('"busmon"', '""'),
        ["buses.centos.client_id: should not be empty", "buses.centos.topics: should not be empty"],
    ),
    "MQTT with the settings of TLS but without it": (
        in_bus(MQTT, "password = 'x'", "ca = 'exists'", "certificate = 'nowhere'"),
        [
            "buses.centos.password: needs username too",
            "buses.centos.ca: needs a url of mqtts://",
            "buses.centos.certificate: needs key too",
            "buses.centos.certificate: needs a url of mqtts://",
            "buses.centos.certificate: nowhere: No such file or directory",
        ],
    ),
    "secrets in files": (
        "[web]\ntoken_file = 'nowhere'\nusername = 'u'\npassword_file = 'empty'\n"
        + in_bus(MQTT, "username = 'u'", "password = 'x'", "password_file = 'exists'")
        + in_bus(STOMP, "login = 'u'", "passcode_file = 'latin1'"),
        [
            "web.token_file: nowhere: No such file or directory",
            "web.token_file: should not be given together with username and password",
            "web.password_file: empty: is empty",
            "buses.centos.password_file: should not be given together with password",
            "buses.umb.passcode_file: latin1: is not UTF-8 text",
        ],
    ),
    "empty secrets": (
        "[web]\ntoken = ''\n" + in_bus(MQTT, "username = 'u'", "password_file = 3"),
        ["web.token: should not be empty", "buses.centos.password_file: should be a path"],
    ),
    "two MQTT buses with one client id at one broker": (
        MQTT + MQTT.replace("centos]", "stg]").replace("localhost", "LOCALHOST:1883"),
        ["buses.stg.client_id: is that of buses.centos on the same broker; each needs its own"],
    ),
    "two STOMP buses with one client id, and something else": (
        in_bus(STOMP, "client_id = 'x'", "prefetch = 0")
        + in_bus(STOMP, "client_id = 'x'").replace("umb]", "other]"),
        [
            "buses.umb.prefetch: should be greater than 0",
            "buses.other.client_id: is that of buses.umb on the same broker; each needs its own",
        ],
    ),
    "two AMQP buses with one queue": (
        in_bus(AMQP, f"queue = '{OWN}'")
        + in_bus(AMQP, f"queue = '{OWN.upper().replace('-', '')}'").replace("fedora]", "f2]"),
        ["buses.f2.queue: is that of buses.fedora on the same broker; each needs its own"],
    ),
    "the listener's queue": (
        in_bus(AMQP, f"queue = '{QUEUE.upper()}'", "prefetch = 70000", "heartbeat = 'x'"),
        [
            f"buses.fedora.queue: {QUEUE} is the listener's queue in fedora.toml; "
            "consuming from it would steal the listener's messages",
            "buses.fedora.prefetch: should be less than or equal to 65535",
            "buses.fedora.heartbeat: should be a number and a unit (s, m, h, d, w)",
        ],
    ),
    "a queue that is no UUID": (
        in_bus(AMQP, "queue = 'packit-listener'"),
        ["buses.fedora.queue: should be a UUID"],
    ),
    "nothing to receive": (
        in_bus(AMQP, "routing_keys = []"),
        ["buses.fedora.routing_keys: leaves nothing to receive: no binding and no routing key"],
    ),
    "no file of fedora-messaging": (
        AMQP.replace("fedora.toml", "nowhere.toml"),
        ["buses.fedora.config: nowhere.toml: No such file or directory"],
    ),
    "a replay of nothing": (
        "[buses.old]\ntype = 'replay'\nrules = 'all'\nfiles = ['exists', 'nowhere']\nrate = 0",
        [
            "buses.old.files, item 2: nowhere: No such file or directory",
            "buses.old.rate: should be greater than 0",
        ],
    ),
}


@pytest.mark.parametrize(("text", "expected"), INVALID.values(), ids=INVALID)
def test_every_problem_is_told_with_its_place_in_the_order_of_the_file(
    directory: Path, text: str, expected: list[str]
) -> None:
    assert problems(directory, text) == expected


URLS = {
    "localhost": "should begin with mqtt:// or mqtts://",
    "http://localhost": "should begin with mqtt:// or mqtts://",
    "mqtt://": "should be mqtt://host or mqtt://host:port",
    "mqtts://localhost/": "should be mqtts://host or mqtts://host:port",
    "mqtts://localhost?x=1": "should be mqtts://host or mqtts://host:port",
    "mqtts://localhost:": "should be mqtts://host or mqtts://host:port",
    "mqtts://localhost:99999": "should be mqtts://host or mqtts://host:port",
    "mqtts://::1": "should be mqtts://host or mqtts://host:port",
    f"mqtts://u:{SECRET}@localhost": "should hold no user and no password: "
    "they are username and password",
}


@pytest.mark.parametrize(("url", "expected"), URLS.items())
def test_an_mqtt_url_is_scheme_host_and_port_and_nothing_else(
    directory: Path, url: str, expected: str
) -> None:
    text = MQTT.replace("mqtt://localhost", url)
    assert problems(directory, text) == [f"buses.centos.url: {expected}"]


LISTENERS = {
    "no TOML": ("x", ["Expected '=' after a key in a key/value pair (at end of document)"]),
    "unknown keys and wrong types": (
        "bogus = 1\nqueues = 1\nbindings = [1]\nexchanges = []\nclient_properties = 1\ntls = 1",
        [
            "bogus: no such setting",
            "queues: 'queues' must be a dictionary mapping queue names to settings.",
            "bindings: has a value of the wrong type",
            "client_properties: has a value of the wrong type",
            "tls: should be a table",
            "exchanges: should be a table of tables",
        ],
    ),
    "a binding to numbers": (
        "[[bindings]]\nexchange = 1\nrouting_keys = [2]",
        ["bindings: exchange, queue and routing_keys should be strings"],
    ),
    "a password that breaks the URL": (
        f"amqp_url = 'amqps://u:{SECRET}#@localhost'",
        ["amqp_url: is refused by pika: check its port and what follows the ?"],
    ),
    "another protocol": (
        f"amqp_url = 'https://u:{SECRET}@localhost'",
        ["amqp_url: should begin with amqp:// or amqps://"],
    ),
    "half of [tls]": (
        "amqp_url = 'amqps://localhost'\n[tls]\nca_cert = 'nowhere'\ncertfile = 3",
        [
            "tls.ca_cert: nowhere: No such file or directory",
            "tls.certfile: should be a string",
            "tls.keyfile: is missing; where [tls] is given, fedora-messaging needs all three",
        ],
    ),
    "a certificate without a key": (
        "amqp_url = 'amqps://localhost'\n[tls]\nca_cert = ''\ncertfile = 'exists'\nkeyfile = ''",
        ["tls: certfile and keyfile need each other; fedora-messaging ignores one alone"],
    ),
}


@pytest.mark.parametrize(("listener", "expected"), LISTENERS.values(), ids=LISTENERS)
def test_what_is_wrong_with_the_file_of_fedora_messaging_is_told_with_the_rest(
    directory: Path, listener: str, expected: list[str]
) -> None:
    (directory / "fedora.toml").write_text(listener)
    told = [f"buses.fedora.config: fedora.toml: {problem}" for problem in expected]
    assert problems(directory, in_bus(AMQP, "prefetch = 'x'")) == [
        *told,
        "buses.fedora.prefetch: should be a whole number",
    ]


def test_the_file_of_fedora_messaging_has_its_own_defaults(directory: Path) -> None:
    path = directory / "fedora.toml"
    path.write_text("[client_properties]\napp = 'x'")
    theirs, ours = LazyConfig().load_config(str(path)), fedora_toml.read(path)
    assert ours.amqp_url.get_secret_value() == theirs["amqp_url"]
    assert ours.exchanges == theirs["exchanges"]
    assert ours.bindings == (Binding("amq.topic", "#"),)
    assert ours.queues == frozenset()
    assert (ours.broker, ours.vhost, ours.tls) == ("localhost:5672", "/", False)


def test_without_tls_its_files_are_not_asked_for_just_as_fedora_messaging_ignores_them(
    directory: Path,
) -> None:
    (directory / "fedora.toml").write_text("[tls]\nca_cert = 'nowhere'\ncertfile = 'nowhere'")
    read(directory, AMQP)


def test_reading_the_file_of_fedora_messaging_logs_nothing(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    read(directory, AMQP)
    assert caplog.records == []


BINDINGS: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "the file's": ({}, [("amq.topic", "a"), ("amq.topic", "b"), ("zmq.topic", "c")]),
    "replaced": ({"routing_keys": "x"}, [("amq.topic", "x"), ("zmq.topic", "x")]),
    "more": (
        {"extra_routing_keys": "a"},
        [("amq.topic", "a"), ("amq.topic", "b"), ("zmq.topic", "c"), ("zmq.topic", "a")],
    ),
    "replaced, and more": (
        {"routing_keys": [], "extra_routing_keys": ["y"]},
        [("amq.topic", "y"), ("zmq.topic", "y")],
    ),
}


@pytest.mark.parametrize(("settings", "expected"), BINDINGS.values(), ids=BINDINGS)
def test_routing_keys_replace_the_bindings_and_extra_ones_add_to_them(
    directory: Path, settings: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    toml = fedora_toml.read(directory / "fedora.toml")
    bus = AmqpBus(type="amqp", rules="all", config=toml.path, **settings)
    assert list(fedora_toml.bindings(bus, toml)) == expected


def test_routing_keys_need_no_binding_in_the_file(directory: Path) -> None:
    (directory / "fedora.toml").write_text("bindings = []")
    toml = fedora_toml.read(directory / "fedora.toml")
    bus = AmqpBus(type="amqp", rules="all", config=toml.path, routing_keys=("a",))
    assert fedora_toml.bindings(bus, toml) == (Binding("amq.topic", "a"),)


def test_the_environment_overrides_every_kind_of_setting(directory: Path) -> None:
    config = read(
        directory,
        MQTT.replace("centos]", "centos-stg]") + in_bus(STOMP, "tls = true") + AMQP,
        BUSMON__WEB__TOKEN=SECRET,
        BUSMON__LEDGER__SIZE_LIMIT="1000",
        BUSMON__LEDGER__RETENTION="2 h",
        BUSMON__RULES__PACKIT__USER="packit-stg",
        BUSMON__BUSES__CENTOS_STG__TOPICS="a/#, b",
        BUSMON__BUSES__CENTOS_STG__QOS="0",
        busmon__buses__umb__tls="false",
        BUSMON__BUSES__FEDORA__QUEUE=QUEUE.replace("0", "1"),
        BUSMON_CONFIG="ignored, since a path is given",
        OTHER__WEB__LISTEN="ignored",
    )
    centos, umb, fedora = config.buses.values()
    assert isinstance(centos, MqttBus)
    assert isinstance(umb, StompBus)
    assert isinstance(fedora, AmqpBus)
    assert config.web.token == SecretStr(SECRET)
    assert (config.ledger.size_limit, config.ledger.retention) == (1000, 7200)
    assert config.rules.packit.user == "packit-stg"
    assert (centos.topics, centos.qos) == (("a/#", "b"), 0)
    assert umb.tls is False
    assert str(fedora.queue) == QUEUE.replace("0", "1")


def test_a_problem_from_the_environment_names_its_variable(directory: Path) -> None:
    assert problems(
        directory,
        "[log]\nlevel = 'loud'\n" + MQTT,
        BUSMON__BUSES="x",
        BUSMON__BUSES__CENTOS__PASWORD=SECRET,
        BUSMON__BUSES__CENTOS__PASSWORD_FILE="nowhere",
        BUSMON__BUSES__CENTOS__QOS="two",
        BUSMON__BUSES__CENTOS__TOPICS="a/#/b",
        BUSMON__BUSES__CENTOS__URL__HOST="x",
        BUSMON__BUSES__FEDORA__URL="x",
        BUSMON__WEB__PASSWORD=SECRET,
        BUSMON__WEP__TOKEN=SECRET,
        BUSMON__="x",
    ) == [
        "log.level: should be 'debug', 'info', 'warning' or 'error'",
        "BUSMON__BUSES__CENTOS__TOPICS: a/#/b: # should stand alone after the last /",
        "BUSMON__BUSES__CENTOS__PASSWORD_FILE: nowhere: No such file or directory",
        "BUSMON__BUSES__CENTOS__PASSWORD_FILE: needs username too",
        "BUSMON__BUSES__CENTOS__PASWORD: no such setting",
        "BUSMON__BUSES__CENTOS__QOS: should be a whole number",
        "BUSMON__: no such setting",
        "BUSMON__WEB__PASSWORD: needs username too",
        "BUSMON__WEP__TOKEN: no such setting",
        "BUSMON__BUSES: is a table, not a setting",
        "BUSMON__BUSES__CENTOS__URL__HOST: is in a setting, not in a table",
        "BUSMON__BUSES__FEDORA__URL: the configuration file has no such bus",
    ]


def test_a_secret_is_what_its_file_holds_without_the_newline_at_its_end(directory: Path) -> None:
    config = read(
        directory,
        "[web]\ntoken_file = 'exists'\n" + in_bus(MQTT, "username = 'u'"),
        BUSMON__BUSES__CENTOS__PASSWORD_FILE="exists",
    )
    centos = config.buses["centos"]
    assert isinstance(centos, MqttBus)
    assert config.web.token == centos.password == SecretStr(SECRET)


def test_relative_paths_start_at_the_directory_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    path = tmp_path / "busmon.toml"
    path.write_text(
        "[ledger]\npath = 'ledger.sqlite'\n"
        + in_bus(MQTT.replace("mqtt://", "mqtts://"), "ca = 'ca.pem'")
    )
    config = load(path, {})
    centos = config.buses["centos"]
    assert isinstance(centos, MqttBus)
    assert config.ledger.path == str(tmp_path / "ledger.sqlite")
    assert centos.ca == tmp_path / "ca.pem"


def test_a_ledger_in_memory_is_no_path(directory: Path) -> None:
    assert read(directory, "[ledger]\npath = ':memory:'\n" + MQTT).ledger.path == ":memory:"


def test_the_file_is_that_of_the_environment_where_none_is_given(directory: Path) -> None:
    (directory / "other.toml").write_text(MQTT)
    assert list(load(None, {"BUSMON_CONFIG": "other.toml"}).buses) == ["centos"]
    with pytest.raises(ConfigError, match=r"^nowhere\.toml: No such file or directory$"):
        load(None, {"BUSMON_CONFIG": "nowhere.toml"})


def test_a_file_that_is_no_text_is_told(directory: Path) -> None:
    with pytest.raises(ConfigError, match=r"^latin1: is not UTF-8 text$"):
        load(directory / "latin1", {})


def test_a_secret_is_never_printed(directory: Path) -> None:
    """Neither of a good configuration nor by what is said of a bad one."""
    text = (
        f"[web]\ntoken = '{SECRET}'\n" + AMQP + in_bus(MQTT, "username='u'", f"password='{SECRET}'")
    )
    text += in_bus(STOMP, "login = 'u'", "passcode_file = 'exists'")
    config = read(directory, text)
    toml = fedora_toml.read(directory / "fedora.toml")
    printed = [repr(config), str(config), config.model_dump_json(), describe(config), repr(toml)]
    for wrong in ("qos = 7", "password_file = 'exists'", f"{SECRET[:3]} = '{SECRET}'"):
        with pytest.raises(ConfigError) as raised:
            read(directory, text.replace("password=", f"{wrong}\npassword="))
        printed += [str(raised.value), repr(raised.value), repr(raised.value.__cause__)]
    with pytest.raises(ValueError, match="no user and no password") as refused:
        MqttBus(
            type="mqtt",
            rules="all",
            url=f"mqtt://u:{SECRET}@localhost",
            topics=("a",),
            client_id="x",
            password=SecretStr(SECRET),
        )
    printed += [str(refused.value), repr(refused.value)]
    assert [text for text in printed if SECRET in text] == []


def test_the_configuration_is_frozen(directory: Path) -> None:
    config = read(directory, MQTT)
    with pytest.raises(ValueError, match="frozen"):
        config.web.listen = "x"  # type: ignore[misc] - what is tested


ADDRESSES = {
    "127.0.0.1:0": ("127.0.0.1", 0),
    "[::1]:80": ("::1", 80),
    "a.b-c:65535": ("a.b-c", 65535),
}


@pytest.mark.parametrize(("text", "expected"), ADDRESSES.items())
def test_an_address_is_host_and_port(text: str, expected: tuple[str, int]) -> None:
    assert host_port(text) == expected


@pytest.mark.parametrize(
    "text", ["", "80", ":80", "a:", "a:b", "::1:80", "a:65536", "u@a:80", "a b:1"]
)
def test_an_address_is_nothing_else(text: str) -> None:
    with pytest.raises(ValueError, match=r"^should be host:port"):
        host_port(text)


def test_the_summary_says_what_would_be_watched_and_served(directory: Path) -> None:
    text = f"""
    [web]
    listen = "[::1]:9810"
    certificate = "exists"
    key = "exists"
    client_ca = "exists"
    token = "{SECRET}"
    [ledger]
    path = "/srv/ledger.sqlite"
    size_limit = 1500
    """
    text += in_bus(AMQP, "extra_routing_keys = ['d']")
    text += in_bus(AMQP.replace("fedora]", "f2]"), "routing_keys = 'x'", f"queue = '{OWN}'")
    text += in_bus(
        MQTT.replace("mqtt://localhost", "mqtts://[::1]"),
        "certificate = 'exists'\nkey = 'exists'\nusername = 'u'\nsubtopics = 'pull-request,git'",
    )
    text += STOMP + in_bus(STOMP.replace("umb]", "umb2]"), "client_id = 'b'", "tls = true")
    text += "\n[buses.old]\ntype = 'replay'\nrules = 'a.b:c'\nfiles = ['exists']\nrate = 10\n"
    assert describe(read(directory, text)) == (
        """\
fedora: amqp, rules packit
  broker      localhost:5672, vhost /public_pubsub, no TLS, as fedora.toml says
  subscribes  4 routing keys: a, b, c and 1 more
  queue       its own, made at the first start
f2: amqp, rules packit
  broker      localhost:5672, vhost /public_pubsub, no TLS, as fedora.toml says
  subscribes  1 routing key: x
  queue       4ad5a2c6-5f0b-4f4e-9a55-9d7e0f3f5b0e
centos: mqtt, rules centos
  broker      [::1]:8883, MQTT 5, TLS with client certificate, password
  subscribes  1 topic: git.centos.org/#
  counts      what begins with pull-request or git after the first /
  session     persistent, of client busmon, QoS 1
umb: stomp, rules all
  broker      localhost:61613, no TLS, no password
  subscribes  1 destination: /topic/a
  session     not durable, ack client
umb2: stomp, rules all
  broker      localhost:61613, TLS, no password
  subscribes  1 destination: /topic/a
  session     durable, of client b, ack client
old: replay, rules a.b:c
  reads       1 file: exists
  rate        10 messages a second
web
  address     https://[::1]:9810/metrics
  access      with a client certificate and the bearer token
ledger
  path        /srv/ledger.sqlite
  keeps       messages for 7d, at most 1500 bytes"""
    )


def test_the_examples_are_accepted_from_a_clean_clone() -> None:
    config = load(EXAMPLES / "busmon.toml", {})
    assert list(config.buses) == ["fedora", "centos"]
    assert len(fedora_toml.read(EXAMPLES / "fedora.toml").bindings) == 15


def uncommented(*, examples: bool) -> str:
    """The example as it is with every setting on, with or without those that have no default."""
    lines = (EXAMPLES / "busmon.toml").read_text().splitlines()
    kept = [line for line in lines if examples or "# e.g." not in line]
    return re.sub(r"(?m)^# (?=\w+ = |\[)", "", "\n".join(kept))


def test_the_example_is_accepted_with_every_default_and_every_bus_in_it(tmp_path: Path) -> None:
    (tmp_path / "busmon.toml").write_text(uncommented(examples=False))
    (tmp_path / "fedora.toml").write_bytes((EXAMPLES / "fedora.toml").read_bytes())
    (tmp_path / "recorded.jsonl").touch()
    config = load(tmp_path / "busmon.toml", {})
    sections = [config.web, config.ledger, config.rules.packit, config.limits, config.log]
    for section in [*sections, *config.buses.values()]:
        for name, field in type(section).model_fields.items():
            assert field.is_required() or getattr(section, name) == field.default, name


def test_the_example_shows_every_setting_that_exists() -> None:
    shown = tomllib.loads(uncommented(examples=True))
    buses = {bus["type"]: bus.keys() for bus in shown.pop("buses").values()}
    models: tuple[type[Section], ...] = get_args(get_args(AnyBus)[0])
    types = {get_args(model.model_fields["type"].annotation)[0]: model for model in models}
    assert buses == {kind: model.model_fields.keys() for kind, model in types.items()}
    assert {*shown, "buses"} == Config.model_fields.keys()
    books = shown.pop("rules")
    assert books.keys() == Rules.model_fields.keys()
    for name, table in [*shown.items(), *books.items()]:
        section = (Rules if name in books else Config).model_fields[name].annotation
        assert table.keys() == section.model_fields.keys()
