"""Every way in which a configuration file can be wrong, with the exact words."""

from pathlib import Path

import pytest

from busmon.text import parse_address
from tests.config import AMQP, MQTT, NO_HOST, OWN, QUEUE, SECRET, STOMP, in_bus, problems

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
    "silences that are no durations": (
        AMQP + '[silence.max_silence]\n"org.*" = "soon"\ntopic = 0\nold = "5201w"',
        [
            'silence.max_silence."org.*": should be a number and a unit (s, m, h, d, w)',
            "silence.max_silence.topic: should be greater than 0",
            "silence.max_silence.old: should be at most 5200w",
        ],
    ),
    "a null character in the ledger's path": (
        '[ledger]\npath = "a\\u0000"\n' + MQTT,
        ["ledger.path: should not contain a null character"],
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
        [rules.centos]
        subtopics = 7
        """
        + in_bus(MQTT, "qos = 3", "version = 5", "keepalive = 0"),
        [
            "limits.unknown_topics: should be greater than or equal to 0",
            "log.level: should be 'debug', 'info', 'warning' or 'error'",
            "log.format: should be 'text' or 'json'",
            "ledger.path: should not be empty",
            "ledger.retention: should be a number and a unit (s, m, h, d, w)",
            "ledger.size_limit: should be a number and a unit (KiB, MiB, GiB)",
            "web.username: should be a string",
            "web.password: should be a string",
            "rules.centos.subtopics: should be a list",
            "buses.centos.qos: should be less than or equal to 1",
            "buses.centos.version: should be '3.1.1' or '5'",
            "buses.centos.keepalive: should be greater than 0",
        ],
    ),
    "a ledger too small to recognize redeliveries": (
        "[ledger]\nretention = '59m'\nsize_limit = '15MiB'\n" + MQTT,
        [
            "ledger.retention: should be at least 1h",
            "ledger.size_limit: should be at least 16MiB",
        ],
    ),
    "a ledger in two places": (
        "[ledger]\npath = 'a'\nurl = 'postgresql://busmon:p@db/busmon'\npassword = 'p'\n" + MQTT,
        [
            "ledger.path: should not be given together with url",
            "ledger.password: should not be given together with a password in url",
        ],
    ),
    "settings of a database without one": (
        "[ledger]\npassword = 'p'\nca = 'exists'\nkey = 'exists'\n" + MQTT,
        [
            "ledger.password: needs url too",
            "ledger.ca: needs url too",
            "ledger.key: needs certificate too",
            "ledger.key: needs url too",
        ],
    ),
    "a CA that would check nothing": (
        "[ledger]\nurl = 'postgresql://busmon@db/busmon?sslmode=disable'\nca = 'exists'\n" + MQTT,
        ["ledger.ca: needs sslmode=verify-full or verify-ca in url"],
    ),
    "a CA for a database that is none": (
        "[ledger]\nurl = 'postgresql://busmon@db/busmon'\nca = 'exists'\n" + MQTT,
        [
            "ledger.ca: exists: should hold a certificate in PEM format (no certificate or crl"
            " found)",
        ],
    ),
    "an operator's login": (
        "[web]\ntoken = 't'\nusername = 'reader'\npassword = 'p'\n"
        "[web.operators.Eve]\npassword = 'e'\n[web.operators.bob]\n"
        "[web.operators.carol]\npassword_file = 'empty'\n" + MQTT,
        [
            "web.operators.Eve: the name of an operator has only a-z, 0-9, dots, _ and -, at most"
            " 64, and begins with a letter or digit",
            "web.operators.bob.password: is missing",
            "web.operators.carol.password_file: names an empty file",
        ],
    ),
    "an operator who has the credentials of somebody else": (
        "[web]\ntoken = 't'\nusername = 'reader'\npassword = 'p'\n"
        "[web.operators.reader]\npassword = 'own'\n[web.operators.bob]\npassword = 't'\n"
        "[web.operators.carol]\npassword = 'p'\n[web.operators.dave]\npassword = 'r'\n"
        "[audit.reports]\nbus = 'centos'\ntoken = 'r'\n" + MQTT,
        [
            "web.operators.reader: is the username that reads; choose another name",
            "web.operators.bob.password: is that of web.token; each needs its own",
            "web.operators.carol.password: is that of web.password; each needs its own",
            "web.operators.dave.password: is that of audit.reports.token; each needs its own",
        ],
    ),
    "the web server's settings that do not go together": (
        "[web]\nlisten = '12876'\n"
        "key = 'exists'\nclient_ca = 'nowhere'\ntoken = 'x'\nusername = 'u'\n" + MQTT,
        [
            "web.listen: should be host:port, an IPv6 address in brackets",
            "web.key: needs certificate too",
            "web.client_ca: nowhere: No such file or directory",
            "web.username: needs password too",
        ],
    ),
    "names that no host can have": (
        "[web]\nlisten = 'a..b:80'\npublic_url = 'https://a..b'\n"
        f"[archive]\nurl = 'https://{'a' * 64}.b/'\nbus = 'centos'\ncontact = 'a@b'\n"
        "[sentry]\ndsn = 'https://key@a..b/1'\n"
        "[audit.celery]\nbus = 'centos'\nbroker = 'redis://a..b'\n"
        + MQTT.replace("localhost", ".localhost")
        + STOMP.replace("localhost", "local..host"),
        [
            f"web.listen: {NO_HOST}",
            f"web.public_url: {NO_HOST}",
            f"archive.url: {NO_HOST}",
            f"sentry.dsn: {NO_HOST}",
            f"audit.celery.broker: {NO_HOST}",
            f"buses.centos.url: {NO_HOST}",
            f"buses.umb.brokers, item 1: {NO_HOST}",
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
            "buses.CentOS: a bus name has only a-z, 0-9, _ and -, and begins with a letter",
            "buses.CentOS.rules: should be packit, centos, all or module:callable, not 'fedora'",
            'buses."u.m.b": a bus name has only a-z, 0-9, _ and -, and begins with a letter',
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
        + in_bus(STOMP, "login = 'u'", "passcode_file = 'latin1'")
        + "\n[sentry]\ndsn_file = 'nowhere'\n[audit.celery]\nbus = 'umb'\nbroker = ''\n",
        [
            "web.token_file: cannot be read: No such file or directory",
            "web.password_file: names an empty file",
            "buses.centos.password_file: should not be given together with password",
            "buses.umb.passcode_file: names a file that is not UTF-8 text",
            "sentry.dsn_file: cannot be read: No such file or directory",
            "audit.celery.broker: should not be empty",
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
    "a URL with a login": (
        "[web]\npublic_url = 'https://me:secret@host/busmon'\n" + MQTT,
        ["web.public_url: should hold no user and no password"],
    ),
    "URLs that are none": (
        "[web]\npublic_url = 'busmon'\ngrafana_url = 'javascript:alert(1)'\n"
        "prometheus_url = '//x'\n" + MQTT,
        [
            "web.public_url: should be https://HOST[:PORT]/PATH",
            "web.grafana_url: should be https://HOST[:PORT]/PATH",
            "web.prometheus_url: should be https://HOST[:PORT]/PATH",
        ],
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
def test_problems_are_listed_with_their_place_in_the_files_order(
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


ADDRESSES = {
    "127.0.0.1:0": ("127.0.0.1", 0),
    "[::1]:80": ("::1", 80),
    "a.b-c:65535": ("a.b-c", 65535),
}


@pytest.mark.parametrize(("text", "expected"), ADDRESSES.items())
def test_an_address_is_host_and_port(text: str, expected: tuple[str, int]) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text", ["", "80", ":80", "a:", "a:b", "::1:80", "a:65536", "u@a:80", "a b:1"]
)
def test_an_address_is_nothing_else(text: str) -> None:
    with pytest.raises(ValueError, match=r"^should be host:port"):
        parse_address(text)
